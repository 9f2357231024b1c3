//! A small static file server: the page as any static host would serve it, under the strictest policy it works with.
//!
//! HTTP/1.1 with keep-alive, one thread per connection, `GET` and `HEAD`, byte ranges, entity tags. It listens on the
//! loopback interface only and never leaves its folder.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// What the page may load and run. Inline styles on elements carry bar widths and colours; nothing else is inline. Every
/// page says the same of itself, for hosts that send no such header.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; \
    form-action 'none'";

/// The one script that may ask other hosts, when the visitor wants a model from there. It runs as a worker, and a worker
/// has the policy it is sent with, not that of its page; the page itself and the engine ask nobody.
const KEEPER: &str = "keeper.js";
const KEEPER_ASKS: &str = "; connect-src 'self' https: http://localhost:* http://127.0.0.1:*";

/// A request head longer than this is refused.
const HEAD_LIMIT: u64 = 16 * 1024;
const IDLE: Duration = Duration::from_secs(60);

/// Serves the folder until the program ends.
pub fn serve(listener: &TcpListener, root: &Path) {
    for stream in listener.incoming().flatten() {
        let root = root.to_owned();
        // A client that hangs up or misbehaves concerns nobody else.
        std::thread::spawn(move || converse(&stream, &root));
    }
}

/// Answers requests on one connection until either side closes it.
fn converse(stream: &TcpStream, root: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(head) = read_head(&mut reader)? else { return Ok(()) };
        let Some(request) = Request::parse(&head) else {
            return Reply::plain(400, "the request is malformed").send(stream, true, false);
        };
        // A body is never expected, so whatever follows one could not be told apart from the next request.
        let last = request.closes || request.has_body;
        answer(&request, root).send(stream, request.method != "HEAD", !last)?;
        if last {
            return Ok(());
        }
    }
}

/// The lines up to the empty one; `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut reader = reader.take(HEAD_LIMIT);
    loop {
        let start = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            // Too long or cut off: without the empty line it does not parse.
            return Ok((!head.is_empty()).then(|| "incomplete".to_owned()));
        }
        if head[start..].trim_ascii().is_empty() && start > 0 {
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
    }
}

struct Request {
    method: String,
    target: String,
    closes: bool,
    has_body: bool,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let mut words = lines.by_ref().find(|line| !line.trim().is_empty())?.split_whitespace();
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if !version.starts_with("HTTP/1.") || words.next().is_some() {
            return None;
        }
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            closes: version == "HTTP/1.0",
            has_body: false,
            range: None,
            if_range: None,
            if_none_match: None,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "connection" => request.closes |= value.eq_ignore_ascii_case("close"),
                "content-length" => request.has_body |= value != "0",
                "transfer-encoding" => request.has_body = true,
                "range" => request.range = Some(value.to_owned()),
                "if-range" => request.if_range = Some(value.to_owned()),
                "if-none-match" => request.if_none_match = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(request)
    }
}

enum Body {
    Text(String),
    Part { file: File, start: u64, length: u64 },
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
    /// Whether it is a script that may ask other hosts.
    may_ask: bool,
}

impl Reply {
    fn plain(status: u16, text: &str) -> Self {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: Body::Text(format!("{text}\n")), may_ask: false }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn send(self, mut stream: &TcpStream, with_body: bool, keep: bool) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            206 => "Partial Content",
            304 => "Not Modified",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            416 => "Range Not Satisfiable",
            _ => "Internal Server Error",
        };
        let length = match &self.body {
            Body::Text(text) => text.len() as u64,
            Body::Part { length, .. } => *length,
        };
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.status != 304 {
            head += &format!("Content-Length: {length}\r\n");
        }
        let more = if self.may_ask { KEEPER_ASKS } else { "" };
        head += &format!("Content-Security-Policy: {CONTENT_SECURITY_POLICY}{more}\r\n");
        head += "X-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n";
        // Other pages load the element for figures as a module; everything here is public.
        head += "Access-Control-Allow-Origin: *\r\n";
        head += if keep { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" };
        stream.write_all(head.as_bytes())?;
        if !with_body || self.status == 304 {
            return Ok(());
        }
        match self.body {
            Body::Text(text) => stream.write_all(text.as_bytes()),
            Body::Part { mut file, start, length } => {
                file.seek(SeekFrom::Start(start))?;
                io::copy(&mut file.take(length), &mut stream).map(|_| ())
            }
        }
    }
}

fn answer(request: &Request, root: &Path) -> Reply {
    if request.method != "GET" && request.method != "HEAD" {
        return Reply::plain(405, "only GET and HEAD are answered").with("Allow", "GET, HEAD".to_owned());
    }
    let Some(path) = path_of(&request.target) else {
        return Reply::plain(403, "the address leaves the folder");
    };
    let Some(path) = file_for(root, &path) else {
        return Reply::plain(404, "there is no such file");
    };
    file_reply(request, &path).unwrap_or_else(|_| Reply::plain(500, "the file could not be read"))
}

/// The relative path an address names; `None` when it points outside or at a hidden file.
fn path_of(target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match tail {
            [high, low, after @ ..] if *first == b'%' => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?, after)
            }
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    let path = String::from_utf8(bytes).ok()?;
    if path.contains(['\\', '\0', ':']) {
        return None;
    }
    let path = PathBuf::from(path);
    let stays = |part: Component<'_>| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        _ => false,
    };
    path.components().all(stays).then_some(path)
}

/// The file to send: itself, a folder's index, or the page for an address that names no file.
fn file_for(root: &Path, path: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let is_page = !path.file_name().is_some_and(|name| name.to_string_lossy().contains('.'));
    let choices = [Some(path.to_owned()), Some(path.join("index.html")), is_page.then(|| PathBuf::from("index.html"))];
    choices
        .into_iter()
        .flatten()
        .filter_map(|choice| root.join(choice).canonicalize().ok())
        // A symbolic link may not lead out either.
        .find(|file| file.is_file() && file.starts_with(&root))
}

fn file_reply(request: &Request, path: &Path) -> io::Result<Reply> {
    let file = File::open(path)?;
    let facts = fs::metadata(path)?;
    let size = facts.len();
    let age = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = format!("\"{size:x}-{:x}\"", age.as_nanos());
    let described = |status, body| {
        Reply { status, headers: Vec::new(), body, may_ask: path.file_name().is_some_and(|name| name == KEEPER) }
            .with("Content-Type", media_type(path).to_owned())
            .with("ETag", tag.clone())
            .with("Accept-Ranges", "bytes".to_owned())
    };
    let same =
        |header: &Option<String>| header.as_ref().is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag));
    if same(&request.if_none_match) {
        return Ok(described(304, Body::Text(String::new())));
    }
    let wants_part = request.if_range.is_none() || same(&request.if_range);
    let range = request.range.as_deref().filter(|_| wants_part).and_then(|range| parse_range(range, size));
    Ok(match range {
        None => described(200, Body::Part { file, start: 0, length: size }),
        Some(Range::Outside) => {
            Reply::plain(416, "the range lies outside the file").with("Content-Range", format!("bytes */{size}"))
        }
        Some(Range::Part { start, end }) => described(206, Body::Part { file, start, length: end - start })
            .with("Content-Range", format!("bytes {start}-{}/{size}", end - 1)),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part { start: u64, end: u64 },
    Outside,
}

/// One byte range; anything else (several ranges, other units, nonsense) is ignored, as the standard allows.
fn parse_range(header: &str, size: u64) -> Option<Range> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (size.saturating_sub(suffix.parse().ok()?), size),
        (start, "") => (start.parse().ok()?, size),
        (start, last) => (start.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    Some(if start < end { Range::Part { start, end } } else { Range::Outside })
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "wgsl" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server over a fresh folder, and what it answers to a raw request.
    fn ask(name: &str, request: &str) -> String {
        let root = std::env::temp_dir().join(format!("attnscope-server-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("index.html"), "<p>page</p>").unwrap();
        fs::write(root.join("a.wasm"), b"0123456789").unwrap();
        fs::write(root.join("sub/index.html"), "sub").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = root.clone();
        std::thread::spawn(move || serve(&listener, &folder));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        fs::remove_dir_all(&root).unwrap();
        answer
    }

    fn get(name: &str, target: &str, headers: &str) -> String {
        ask(name, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
    }

    #[test]
    fn a_file_comes_with_type_length_tag_and_policy() {
        let answer = get("file", "/a.wasm?v=1", "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        for header in [
            "Content-Type: application/wasm",
            "Content-Length: 10",
            "ETag: \"",
            "script-src 'self' 'wasm-unsafe-eval'",
            "Access-Control-Allow-Origin: *",
        ] {
            assert!(answer.contains(header), "{header} in {answer}");
        }
        assert!(answer.ends_with("\r\n\r\n0123456789"));
    }

    #[test]
    fn head_sends_the_length_but_no_body() {
        let answer = ask("head", "HEAD /a.wasm HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert!(answer.contains("Content-Length: 10") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn one_connection_answers_several_requests() {
        let two = "GET /a.wasm HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert_eq!(ask("keep", two).matches("200 OK").count(), 2);
    }

    #[test]
    fn ranges_are_cut_and_checked() {
        assert!(get("part", "/a.wasm", "Range: bytes=2-4\r\n").contains("Content-Range: bytes 2-4/10"));
        assert!(get("tail", "/a.wasm", "Range: bytes=-3\r\n").ends_with("\r\n\r\n789"));
        assert!(get("out", "/a.wasm", "Range: bytes=10-\r\n").starts_with("HTTP/1.1 416"));
        assert!(get("stale", "/a.wasm", "Range: bytes=0-1\r\nIf-Range: \"old\"\r\n").starts_with("HTTP/1.1 200"));
        assert_eq!(parse_range("bytes=0-1,4-5", 10), None);
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let root = std::env::temp_dir().join(format!("attnscope-server-{}-tag", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("a.js"), "1").unwrap();
        let request = |tag: Option<String>| {
            let mut request = Request::parse("GET /a.js HTTP/1.1\r\n\r\n").unwrap();
            request.if_none_match = tag;
            request
        };
        let first = answer(&request(None), &root);
        let tag = first.headers.iter().find(|(name, _)| *name == "ETag").unwrap().1.clone();
        assert_eq!(answer(&request(Some(tag)), &root).status, 304);
        assert_eq!(answer(&request(Some("\"other\"".to_owned())), &root).status, 200);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn an_address_without_a_file_name_shows_the_page() {
        assert!(get("spa", "/anything/else", "").ends_with("<p>page</p>"));
        assert!(get("folder", "/sub", "").ends_with("sub"));
        assert!(get("missing", "/gone.js", "").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        for target in
            ["/../secret", "/%2e%2e/secret", "/.git/config", "/..%5csecret", "/a%00", "//etc/passwd", "secret"]
        {
            let answer = get("outside", target, "");
            assert!(answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
        }
    }

    #[test]
    fn other_methods_and_nonsense_are_refused() {
        assert!(ask("post", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 405"));
        assert!(ask("noise", "hello\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
}
