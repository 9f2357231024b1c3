// token_at: the token of a grid of tokens by batch × heads.
#import token

fn token_at(token: u32, batch_head: u32) -> Token {
    return Token(
        shape.layer,
        shape.layers,
        batch_head % shape.heads,
        shape.heads,
        shape.is_key != 0u,
        shape.first + token,
        batch_head * shape.tokens + token,
        shape.keys,
        shape.first_query,
        shape.width,
        shape.scale,
        batch_head * shape.queries,
        batch_head * shape.keys,
    );
}
