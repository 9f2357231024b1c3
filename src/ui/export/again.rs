//! The way to the same numbers: a link, a command line, a Python text, an element for another page.

use super::ink::escape;
use super::shown::Screen;
use crate::experiment::{Pane, link};
use crate::shipped::Name;
use crate::ui::stage::scene::Column;
use leptos::prelude::*;

/// The folder of the page.
fn folder() -> String {
    let uri = document().base_uri().ok().flatten().unwrap_or_default();
    let path = uri.split(['#', '?']).next().unwrap_or_default();
    path.rfind('/').map_or("", |end| &path[..=end]).to_owned()
}

/// The address that shows the same.
pub fn address(screen: &Screen) -> String {
    format!("{}#{}", folder(), link::write(&screen.experiment))
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Runs the same experiment without a browser, with the numbers to compare.
pub fn command(screen: &Screen) -> String {
    let mut out = String::from("# In a checkout of attnscope: the same numbers, as JSON.\n");
    for (index, pane) in screen.outcome.panes.iter().enumerate() {
        if let Some(loss) = pane.loss {
            out += &format!("# .panes[{index}].loss = {loss}\n");
        }
        if let Some(versus) = &pane.versus_a {
            out += &format!("# .panes[{index}].versus_a.kl_next = {}\n", versus.kl_next);
        }
    }
    out + &format!("attnscope run {}\n", quoted(&address(screen)))
}

/// Whether a pane is the model as transformers has it.
fn is_plain(pane: &Pane) -> bool {
    pane.stack.iter().all(|chip| chip.id == "softmax" && chip.values.is_empty())
}

/// Pane A's numbers with transformers; `None` where A is no plain softmax attention, which is all that library computes.
pub fn python(screen: &Screen) -> Option<String> {
    screen.experiment.panes.first().filter(|pane| is_plain(pane))?;
    let name = Name::of(&screen.outcome.model.id);
    let model = name.files();
    let ids: Vec<_> = screen.outcome.tokens.iter().map(|token| token.id.to_string()).collect();
    let mut out = format!(
        "# pip install torch transformers\n\
         # The model: config.json and model.safetensors of {folder}models/{model}/, in a folder named {model}.\n\
         import torch\n\
         from transformers import AutoModelForCausalLM\n\n\
         model = AutoModelForCausalLM.from_pretrained(\"{model}\", attn_implementation=\"eager\").eval()\n\
         {rounding}ids = torch.tensor([[{ids}]])\n\
         with torch.no_grad():\n    out = model(ids, labels=ids, output_attentions=True)\n",
        folder = folder(),
        rounding = if name.int8 { rounding(&screen.outcome.model.family) } else { "" },
        ids = ids.join(", "),
    );
    if let Some(loss) = screen.outcome.panes.first().and_then(|pane| pane.loss) {
        out += &format!("print(\"loss\", out.loss.item(), \"on screen\", {loss})\n");
    }
    // The weight, whatever the matrices show.
    let (query, key) = screen.pair()?;
    let (layer, head) = (screen.head.layer, screen.head.head);
    let on_screen = screen.matrix(Column::A).filter(|_| screen.quantity == crate::experiment::Quantity::Pattern);
    let value = on_screen.map(|shown| shown.sheet.at(query, key)).filter(|value| !value.is_nan());
    let compare = value.map_or(String::new(), |value| format!(", \"on screen\", {value}"));
    out += &format!("print(\"weight\", out.attentions[{layer}][0, {head}, {query}, {key}].item(){compare})\n");
    Some(out)
}

/// Rounds the matrices of a model of transformers as [`Weights::quantise`](crate::model::Weights::quantise) does.
fn rounding(family: &str) -> &'static str {
    match family {
        // Its layers have an output per column, its embedding one per row.
        "gpt2" => {
            "for name, w in model.named_parameters():\n    if w.dim() == 2 and \"wpe\" not in name:\n        \
             scale = w.data.abs().amax(1 if \"wte\" in name else 0, keepdim=True)\n        \
             w.data = (w.data / scale * 127).round() / 127 * scale\n"
        }
        _ => {
            "for w in model.parameters():\n    if w.dim() == 2:\n        scale = w.data.abs().amax(1, keepdim=True)\n        \
             w.data = (w.data / scale * 127).round() / 127 * scale\n"
        }
    }
}

/// The element for another page.
pub fn element(screen: &Screen) -> String {
    let folder = folder();
    let parameters = link::readable(&screen.experiment);
    let attributes: Vec<_> =
        parameters.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value).replace('\n', "&#10;"))).collect();
    format!(
        "<script type=\"module\" src=\"{folder}attn-scope.js\"></script>\n\
         <attn-scope {} hide=\"tabs profiles write\" title=\"{}\">\n  <a href=\"{}\">Open the figure</a>\n</attn-scope>\n",
        attributes.join(" "),
        escape(&format!("Attention head {} of {}", screen.head, screen.outcome.model.id)),
        escape(&address(screen))
    )
}
