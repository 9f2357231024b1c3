//! The linker: text in, one WGSL program out.
//!
//! `#import name` pulls `shaders/shared/name.wgsl` once; `#slot name` is filled with a shared piece or with calls to the
//! mechanisms of the stack, or with nothing. Behind the kernel stand, per mechanism: its parameter struct generated from
//! the declaration, a constant for each word of a choice, its uniform and inputs as further bindings, and its file.
//! Bindings are read back from the text, which has one fixed line form, so that Rust never lists them again:
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
            if index != self.bindings.len() {
                let expected = self.bindings.len();
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
        if !Role::ALL.iter().flat_map(|role| calls(*role)).any(|(name, _)| *name == slot) {
            return Err(fault(path, number, format!("nothing fills the slot {slot}")));
        }
        self.filled.push(slot.into());
        for mechanism in self.kernel.mechanisms.iter().filter(|mechanism| fills(mechanism, slot)) {
            for (_, call) in calls(mechanism.plug.role).iter().filter(|(name, _)| *name == slot) {
                self.line(path, number, &call.replace('$', mechanism.id))?;
            }
        }
        Ok(())
    }

    fn mechanism(&mut self, mechanism: &Mechanism) -> Result<()> {
        let id = mechanism.id;
        let Some(text) = mechanism.wgsl else {
            return Err(Error::Unsupported {
                file: id.into(),
                key: "engine".into(),
                expected: "cpu".into(),
                came: "gpu, but this mechanism has no GPU twin".into(),
            });
        };
        let has = |slot: &str| self.filled.iter().any(|filled| filled == slot);
        if let Some(missing) = OPTIONAL.iter().find(|slot| has("step") && !has(slot) && fills(mechanism, slot)) {
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
        let first = self.bindings.len();
        let _ = writeln!(lines, "@group(0) @binding({first}) var<uniform> {id}_params: {};", mechanism.plug.params);
        for (index, input) in (first + 1..).zip(mechanism.plug.inputs) {
            // Storage bindings are few, uniforms are not; in a uniform an array steps by four numbers.
            let (kind, ty) = if input.is_per_head() {
                ("uniform", format!("array<vec4<f32>, {}>", Input::MOST_HEADS / 4))
            } else {
                ("storage, read", "array<f32>".into())
            };
            let _ = writeln!(lines, "@group(0) @binding({index}) var<{kind}> {id}_{}: {ty};", input.name);
        }
        for (number, line) in (1..).zip(lines.lines()) {
            self.line(&declaration, number, line)?;
        }
        self.file(&format!("shaders/mechanism/{id}.wgsl"), text)
    }
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
