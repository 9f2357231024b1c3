//! The stack of mechanisms that a model learns under.

use crate::experiment::link;
use crate::mechanism::Stack;
use crate::{Error, Result};

/// The stack that `text` names, as it stands in a link; plain attention where it is empty.
///
/// # Errors
/// Those of the link and of [`Stack::new`]; [`Error::Param`] for what no model can be trained under.
pub fn stack(text: &str) -> Result<Stack> {
    let stack = Stack::new("train", &link::stack(text)?)?;
    let refuse = |expected: &str| {
        Err(Error::Param { who: "train".into(), key: "--stack".into(), expected: expected.into(), came: text.into() })
    };
    if stack.measures() {
        return refuse("measure nothing on the model, which is not trained yet");
    }
    if stack.reach() > 0 {
        return refuse("show no query later tokens, which it is to predict");
    }
    Ok(stack)
}
