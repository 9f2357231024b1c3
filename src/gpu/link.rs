//! The linker: text in, one WGSL program out.
//!
//! `#import name` pulls `shaders/shared/name.wgsl` once; `#slot name` is filled with a shared piece or with calls to the
//! mechanisms of the stack, or with nothing. A kernel may also name a piece that stands in for an imported one. Behind the
//! kernel stand, per mechanism: its parameter struct generated from the declaration, a constant for each word of a choice,
//! its uniform and inputs as further bindings, and its file. Bindings are read back from the text, which has one fixed line
//! form, so that Rust never lists them again; those of a shared piece are numbered anew, behind what stands before them:
//!
//! ```text
//! @group(0) @binding(1) var<storage, read> q: array<f32>; // [B,H,Q,D]
//! ```

use super::kernel::{Kernel, OPTIONAL, calls, fills};
use super::source;
use crate::mechanism::{Input, Mechanism};
use crate::spec::{self, Domain};
use crate::{Error, Result};
use std::fmt::Write;

/// A whole program.
#[derive(Debug, Clone)]
pub struct Linked {
    /// WGSL.
    pub text: String,
    /// File and one-based line of every line of `text`.
    pub origins: Vec<(String, usize)>,
    /// Bindings in order; index and binding number agree.
    pub bindings: Vec<Binding>,
    /// Members of `struct Shape`, in order.
    pub shape: Vec<Member>,
}

/// A buffer a program wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The variable.
    pub name: String,
    /// How it is bound.
    pub access: Access,
}

/// How a buffer is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<uniform>`
    Uniform,
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A member of the shape uniform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// snake_case.
    pub name: String,
    /// `u32` or `f32`.
    pub kind: String,
}

impl Linked {
    /// An error at a one-based line of the program, told in terms of the file the line came from.
    pub fn fault(&self, line: usize, problem: impl std::fmt::Display) -> Error {
        let (file, line) = self.origins.get(line.saturating_sub(1)).cloned().unwrap_or(("linked program".into(), line));
        Error::Kernel { file, line, problem: problem.to_string() }
    }
}

/// Links a kernel.
pub(super) fn link(kernel: &Kernel) -> Result<Linked> {
    let mut linker = Linker {
        kernel,
        text: String::new(),
        origins: Vec::new(),
        imported: Vec::new(),
        filled: Vec::new(),
        bindings: Vec::new(),
    };
    let main = source::kernel(kernel.name)?;
    linker.file(&main.path(), main.text)?;
    for mechanism in &kernel.mechanisms {
        linker.mechanism(mechanism)?;
    }
    let shape = shape_members(&linker.text);
    Ok(Linked { text: linker.text, origins: linker.origins, bindings: linker.bindings, shape })
}

struct Linker<'a> {
    kernel: &'a Kernel,
    text: String,
    origins: Vec<(String, usize)>,
    imported: Vec<&'static str>,
    /// Slots that mechanisms were asked to fill.
    filled: Vec<String>,
    bindings: Vec<Binding>,
}

impl Linker<'_> {
    fn line(&mut self, origin: &str, number: usize, line: &str) -> Result<()> {
        if let Some(binding) = binding(line) {
            let (index, binding) = binding.map_err(|problem| fault(origin, number, problem))?;
            let expected = self.bindings.len();
            if origin.starts_with("shaders/shared/") && index != expected {
                let renumbered = line.replacen(&format!("@binding({index})"), &format!("@binding({expected})"), 1);
                return self.line(origin, number, &renumbered);
            }
            if index != expected {
                return Err(fault(
                    origin,
                    number,
                    format!("binding {index} should be {expected}; bindings are dense and in order"),
                ));
            }
            self.bindings.push(binding);
        }
        self.text.push_str(line);
        self.text.push('\n');
        self.origins.push((origin.into(), number));
        Ok(())
    }

    fn file(&mut self, path: &str, text: &str) -> Result<()> {
        // Pieces that declare bindings stand behind those of the file that asks for them.
        let mut behind = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("#import"), Some(name)) => self.import(name, path, number)?,
                (Some("#slot"), Some(slot)) => match self.kernel.pieces.iter().find(|(filled, _)| *filled == slot) {
                    Some((_, piece)) => behind.push((*piece, number)),
                    None => self.calls(slot, path, number)?,
                },
                (Some("#import" | "#slot"), None) => return Err(fault(path, number, "names nothing")),
                _ => self.line(path, number, line)?,
            }
        }
        behind.into_iter().try_for_each(|(piece, number)| self.import(piece, path, number))
    }

    fn import(&mut self, name: &str, path: &str, number: usize) -> Result<()> {
        let name = self.kernel.pieces.iter().find(|(replaced, _)| *replaced == name).map_or(name, |(_, piece)| piece);
        let Some(piece) = source::piece(name) else {
            return Err(fault(path, number, format!("there is no shaders/shared/{name}.wgsl")));
        };
        if self.imported.contains(&piece.name) {
            return Ok(());
        }
        self.imported.push(piece.name);
        self.file(&piece.path(), piece.text)
    }

    /// The calls of every mechanism that fills this slot; a slot that nobody could ever fill is a mistake.
    fn calls(&mut self, slot: &str, path: &str, number: usize) -> Result<()> {
        use crate::catalogue::Role;
        if !Role::ALL
            .iter()
            .flat_map(|role| [true, false].map(|in_stage| calls(*role, in_stage)))
            .flatten()
            .any(|(name, _)| *name == slot)
        {
            return Err(fault(path, number, format!("nothing fills the slot {slot}")));
        }
        self.filled.push(slot.into());
        for mechanism in self.kernel.mechanisms.iter().filter(|mechanism| fills(mechanism, slot)) {
            for (_, call) in
                calls(mechanism.plug.role, !self.kernel.function.is_empty()).iter().filter(|(name, _)| *name == slot)
            {
                self.line(path, number, &call.replace('$', mechanism.id).replace('@', self.kernel.function))?;
            }
        }
        Ok(())
    }

    fn mechanism(&mut self, mechanism: &Mechanism) -> Result<()> {
        let id = mechanism.id;
        let Some(text) = mechanism.wgsl else {
            return Err(super::attend::unsupported(id, super::attend::NO_TWIN));
        };
        let has = |slot: &str| self.filled.iter().any(|filled| filled == slot);
        let weighs = has("step") || has("exponent");
        if let Some(missing) = OPTIONAL.iter().find(|slot| weighs && !has(slot) && fills(mechanism, slot)) {
            let problem = format!("has no slot {missing}, which {id} fills");
            return Err(fault(&source::kernel(self.kernel.name)?.path(), 1, problem));
        }
        let declaration = format!("parameters of {id}");
        let mut lines = spec::wgsl_struct(mechanism.plug.params, mechanism.plug.spec);
        for param in mechanism.plug.spec {
            if let Domain::Choice(words) = param.domain {
                for (index, word) in words.iter().enumerate() {
                    let _ = writeln!(lines, "const {id}_{}_{word}: u32 = {index}u;", param.key);
                }
            }
        }
        let path = format!("shaders/mechanism/{id}.wgsl");
        let needed = needed(&self.text, text);
        let reads = |name: &str| needed.iter().any(|item| mentions(item.text, &format!("{id}_{name}")));
        let mut next = self.bindings.len();
        let mut bind = |lines: &mut String, kind: &str, name: &str, ty: &str| {
            let _ = writeln!(lines, "@group(0) @binding({next}) var<{kind}> {id}_{name}: {ty};");
            next += 1;
        };
        bind(&mut lines, "uniform", "params", mechanism.plug.params);
        let inputs = mechanism.plug.inputs.iter();
        for input in inputs.filter(|input| reads(input.name)) {
            if input.is_per_head() {
                // Storage bindings are few, uniforms are not; in a uniform an array steps by four numbers.
                bind(&mut lines, "uniform", input.name, &format!("array<vec4<f32>, {}>", Input::MOST_HEADS / 4));
            } else {
                bind(&mut lines, "storage, read", input.name, "array<f32>");
            }
        }
        for name in self.kernel.made.iter().filter(|name| reads(name)) {
            bind(&mut lines, "storage, read", name, "array<f32>");
        }
        for (number, line) in (1..).zip(lines.lines()) {
            self.line(&declaration, number, line)?;
        }
        for item in needed {
            for (number, line) in (item.line..).zip(item.text.lines()) {
                match line.split_whitespace().collect::<Vec<_>>()[..] {
                    ["#import", name] => self.import(name, &path, number)?,
                    ["#import" | "#slot", ..] => return Err(fault(&path, number, "is not an import")),
                    _ => self.line(&path, number, line)?,
                }
            }
        }
        Ok(())
    }
}

/// A function, constant or import of a mechanism's file.
struct Item<'a> {
    line: usize,
    name: &'a str,
    text: &'a str,
}

/// The items of a mechanism's file that a kernel needs: those it names, and those they name. A file that serves several
/// stages brings to each of them only what its function reads.
fn needed<'a>(kernel: &str, file: &'a str) -> Vec<Item<'a>> {
    let items = items(file);
    let mut taken = vec![false; items.len()];
    loop {
        let named = |index: usize| {
            let item = &items[index];
            item.name.is_empty()
                || mentions(kernel, item.name)
                || items.iter().zip(&taken).any(|(other, taken)| *taken && mentions(other.text, item.name))
        };
        let Some(next) = (0..items.len()).find(|index| !taken[*index] && named(*index)) else { break };
        taken[next] = true;
    }
    items.into_iter().zip(taken).filter_map(|(item, taken)| taken.then_some(item)).collect()
}

/// Splits a file before every line that begins an item; comments before the first are left out. What is neither function,
/// constant nor variable has no name and is always needed.
fn items(file: &str) -> Vec<Item<'_>> {
    let begins = |line: &str| !line.trim().is_empty() && !line.starts_with([' ', '\t', '}', ')', '/']);
    let mut starts = Vec::new();
    let mut place = 0;
    for (number, line) in (1..).zip(file.split_inclusive('\n')) {
        if begins(line) {
            starts.push((number, place));
        }
        place += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, place)| *place).chain([file.len()]);
    let item = |((line, start), end): ((usize, usize), usize)| {
        let text = &file[start..end];
        let code = text.split(['(', ':', '=']).next().unwrap_or_default();
        let named = ["fn ", "const ", "var<"].iter().any(|word| text.starts_with(word));
        let name = if named { code.split_whitespace().last().unwrap_or_default() } else { "" };
        Item { line, name, text }
    };
    starts.iter().copied().zip(ends).map(item).collect()
}

/// Whether `name` stands in `text` as a whole word.
fn mentions(text: &str, name: &str) -> bool {
    let inside = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(name)
        .any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + name.len()..].chars().next()))
}

fn fault(file: &str, line: usize, problem: impl std::fmt::Display) -> Error {
    Error::Kernel { file: file.into(), line, problem: problem.to_string() }
}

/// Reads a binding line; `None` when the line is something else, an error when it is one in another form.
fn binding(line: &str) -> Option<std::result::Result<(usize, Binding), &'static str>> {
    let code = line.split("//").next().unwrap_or_default().trim();
    if !code.contains("@binding") {
        return None;
    }
    let read = || {
        let (index, rest) = code.strip_prefix("@group(0) @binding(")?.split_once(") var<")?;
        let (access, rest) = rest.split_once("> ")?;
        let name = rest.split_once(": ")?.0;
        let access = match access {
            "uniform" => Access::Uniform,
            "storage, read" => Access::Read,
            "storage, read_write" => Access::ReadWrite,
            _ => return None,
        };
        Some((index.parse().ok()?, Binding { name: name.into(), access }))
    };
    Some(read().ok_or("a binding reads `@group(0) @binding(N) var<storage, read> name: type;`"))
}

/// The members of `struct Shape`.
fn shape_members(text: &str) -> Vec<Member> {
    let inside = text.lines().skip_while(|line| *line != "struct Shape {").skip(1).take_while(|line| *line != "}");
    let member = |line: &str| {
        let (name, kind) = line.trim().strip_suffix(',')?.split_once(": ")?;
        Some(Member { name: name.into(), kind: kind.into() })
    };
    inside.filter_map(member).collect()
}
