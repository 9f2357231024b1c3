//! The settings of the instruments in a link, each only where it differs from its default.

use super::number;
use crate::Result;
use crate::experiment::Instruments;

/// Keys and values.
pub(super) fn write(set: &Instruments) -> Vec<(String, String)> {
    let plain = Instruments::default();
    let heads: Vec<String> = set.ablate.iter().map(ToString::to_string).collect();
    let id = |id: Option<u32>| id.map_or(String::new(), |id| id.to_string());
    let pairs = [
        ("answer", set.answer.is_some(), id(set.answer)),
        ("against", set.against.is_some(), id(set.against)),
        ("norm", set.norm != plain.norm, set.norm.word().into()),
        ("lens", set.layout != plain.layout, set.layout.word().into()),
        ("act", set.act != plain.act, set.act.word().into()),
        ("ablate", !set.ablate.is_empty(), heads.join(",")),
        ("how", set.how != plain.how, set.how.word().into()),
        ("effect", set.effect != plain.effect, set.effect.word().into()),
        ("corrupted", set.corrupted != plain.corrupted, set.corrupted.clone()),
        ("site", set.site != plain.site, set.site.word().into()),
        ("by", set.by != plain.by, set.by.word().into()),
        ("through", set.through != plain.through, set.through.word().into()),
        ("study", set.study != plain.study, set.study.word().into()),
        ("over", set.over != plain.over, set.over.word().into()),
        ("items", set.items != plain.items, set.items.to_string()),
        ("shots", set.shots != plain.shots, set.shots.to_string()),
        ("options", set.options != plain.options, set.options.to_string()),
        ("template", set.template != plain.template, set.template.to_string()),
        ("lambda_a", set.lambda_a != plain.lambda_a, set.lambda_a.to_string()),
        ("lambda_m", set.lambda_m != plain.lambda_m, set.lambda_m.to_string()),
        ("bias", set.bias != plain.bias, set.bias.to_string()),
        ("own", set.own != plain.own, "1".into()),
        ("norms", set.norms != plain.norms, "1".into()),
    ];
    pairs.into_iter().filter(|(_, differs, _)| *differs).map(|(key, _, value)| (key.to_string(), value)).collect()
}

/// Reads one key; false when it is not one.
pub(super) fn read(set: &mut Instruments, key: &str, value: &str) -> Result<bool> {
    match key {
        "answer" => set.answer = Some(number(key, value)?),
        "against" => set.against = Some(number(key, value)?),
        "norm" => set.norm = value.parse()?,
        "lens" => set.layout = value.parse()?,
        "act" => set.act = value.parse()?,
        "ablate" => {
            set.ablate = value.split(',').filter(|head| !head.is_empty()).map(str::parse).collect::<Result<_>>()?
        }
        "how" => set.how = value.parse()?,
        "effect" => set.effect = value.parse()?,
        "corrupted" => set.corrupted = value.into(),
        "site" => set.site = value.parse()?,
        "by" => set.by = value.parse()?,
        "through" => set.through = value.parse()?,
        "study" => set.study = value.parse()?,
        "over" => set.over = value.parse()?,
        "items" => set.items = number(key, value)?,
        "shots" => set.shots = number(key, value)?,
        "options" => set.options = number(key, value)?,
        "template" => set.template = number(key, value)?,
        "lambda_a" => set.lambda_a = number(key, value)?,
        "lambda_m" => set.lambda_m = number(key, value)?,
        "bias" => set.bias = number(key, value)?,
        "own" => set.own = value != "0",
        "norms" => set.norms = value != "0",
        _ => return Ok(false),
    }
    Ok(true)
}
