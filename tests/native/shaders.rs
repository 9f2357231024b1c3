//! Every program the engine can build: it links, it is valid WGSL without extra capabilities, and it keeps the house rules.

use attnscope::Error;
use attnscope::catalogue::Role;
use attnscope::experiment::Chip;
use attnscope::gpu::decode::cache::Cache;
use attnscope::gpu::decode::plan::{Form, Lanes, Way};
use attnscope::gpu::kernel::Kernel;
use attnscope::gpu::layers;
use attnscope::gpu::link::{Access, Linked};
use attnscope::gpu::plan::{Attend, Past, Plan};
use attnscope::gpu::project::Unturned;
use attnscope::gpu::weights::{Format, split};
use attnscope::gpu::{ceiling, decode, source};
use attnscope::hook::{Selection, Site};
use attnscope::mechanism::{ALL, Mechanism, Paper, Plug, Stack, laws};
use attnscope::model::config::{Activation, Config, Family, Norm, Pairing, Positions};
use attnscope::model::step::Sizes;
use naga::AddressSpace;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::{BTreeMap, BTreeSet};

/// None but `unpack2x16float`, which every WebGPU device has and naga asks for, since some older GLES have not.
const CAPABILITIES: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
const MOST_STORAGE: usize = 8;
const MOST_INVOCATIONS: u32 = 256;
const MOST_WORKGROUP_BYTES: u32 = 16 * 1024;

/// Every mechanism of the row kernel alone, and every legal set of one score mod, mask mod, selector and normalizer.
fn stacks() -> Vec<Stack> {
    let of = |role: Role| {
        ALL.iter().filter(move |m| m.plug.role == role && m.wgsl.is_some()).map(|m| Some(m.id)).chain([None])
    };
    let mut stacks = Vec::new();
    for score in of(Role::ScoreMod) {
        for mask in of(Role::MaskMod) {
            for selector in of(Role::Selector) {
                for normalizer in of(Role::Normalizer) {
                    let chips = [score, mask, selector, normalizer].into_iter().flatten().map(Chip::new);
                    stacks.push(Stack::new("a", &chips.collect::<Vec<_>>()).expect("one of each role is legal"));
                }
            }
        }
    }
    stacks
}

/// Configurations that between them use every kernel and every activation.
fn configs() -> Vec<Config> {
    let activations = [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu];
    let mut configs = Vec::new();
    for activation in activations {
        configs.push(Config { activation, ..Config::gpt2(50, 16, 2, 2, 32) });
        configs.push(Config { activation, tied: false, ..Config::llama(50, 16, 2, 4, 2, 24) });
    }
    configs.push(Config::neox(50, 16, 2, 2, 32));
    let adjacent = Positions::Rotary { theta: 1e4, pairing: Pairing::Adjacent };
    configs.push(Config { positions: adjacent, norm: Norm::Layer, family: Family::Llama, ..configs[1].clone() });
    configs
}

/// The plan of an attention step, unless it is refused: some stacks read more buffers than a kernel may bind.
fn step(stack: &Stack, capture: bool, cached: bool) -> Option<Plan> {
    step_of(stack, capture, cached, 8)
}

fn step_of(stack: &Stack, capture: bool, cached: bool, width: usize) -> Option<Plan> {
    let sizes = Sizes { batch: 1, heads: 4, kv_heads: 2, queries: 7, keys: 7, width };
    let at = Attend {
        q: "q",
        k: "k",
        v: "v",
        z: "z",
        capture: capture.then_some("maps"),
        state: cached.then_some("state"),
        held: None,
        past: Past::Whole,
        layer: 1,
        layers: 3,
        sizes,
        room: sizes,
        first_query: 0,
        first_head: 0,
        shown: 4,
        scale: 1.0,
    };
    let mut plan = Plan::default();
    let given = Unturned { q: "q", k: "k", v: "v", turns: Some("turns"), pairing: [1, 4] };
    match plan.attend_projected(stack, &given, &at) {
        Ok(()) => Some(plan),
        Err(Error::Unsupported { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Stacks of one mechanism that acts in stages, at every corner of its parameters.
fn staged() -> impl Iterator<Item = Stack> {
    let corners = |mechanism: &'static Mechanism| {
        laws::corners(mechanism).map(move |values| Stack::alone(mechanism, values).expect("it is legal"))
    };
    let twins = ALL.iter().filter(|mechanism| mechanism.wgsl.is_some());
    twins.flat_map(move |mechanism| corners(mechanism)).filter(Stack::acts_in_stages)
}

/// Stacks between which a decode differs: one keeps everything, one overwrites what nobody asks for again, one of these has no
/// tile kernel, and one carries a state.
fn kept() -> [Stack; 4] {
    let stack = |ids: &[&'static str]| Stack::new("a", &ids.iter().map(|id| Chip::new(id)).collect::<Vec<_>>());
    [&[][..], &["halo_attention"], &["halo_attention", "softplus_reweighting"], &["lightning_attention"]]
        .map(|ids| stack(ids).expect("it is legal"))
}

/// Plans of decoding: one token, and a chunk of a prompt, with matrices in every format.
fn decoding() -> Vec<Plan> {
    let mut plans = Vec::new();
    for (config, stack) in configs().iter().flat_map(|config| kept().map(|stack| (config, stack))) {
        for format in [Format::F32, Format::F16, Format::I8] {
            for (lanes, keep) in [(Lanes::Shared, false), (Lanes::Alone, false), (Lanes::Alone, true)] {
                let keep = keep && stack.mixer.is_none();
                let caches = Cache::of_layers(config, &stack, 0, 32, keep);
                let form = Form { config, format, stack: &stack, room: 32, way: Way { lanes, keep }, caches: &caches };
                plans.push(decode::plan::step(form).expect("a small model fits"));
                plans.push(decode::plan::chunk(form, 4, 5, 8).expect("a small model fits"));
            }
        }
    }
    plans
}

/// Passes of small models, and of one under every stack that acts in stages; and plans of decoding.
fn plans(wants: &Selection) -> Vec<Plan> {
    let plain = Stack::new("a", &[]).expect("nothing is legal");
    let stacks = staged().map(|stack| (configs().swap_remove(1), stack));
    let all = configs().into_iter().map(|config| (config, plain.clone())).chain(stacks);
    let pass = |(config, stack): (Config, Stack)| {
        layers::pass(&config, Format::F32, &stack, wants, false, 5, 8).expect("a small model fits").plan
    };
    all.map(pass).chain(decoding()).collect()
}

fn kernels() -> BTreeMap<String, Kernel> {
    let mut kernels = BTreeMap::new();
    let mut put = |kernel: Kernel| kernels.insert(kernel.id(), kernel);
    for stack in stacks() {
        for (capture, cached) in [(false, false), (true, false), (false, true)] {
            step(&stack, capture, cached).into_iter().flat_map(|plan| plan.steps).for_each(|step| {
                put(step.kernel);
            });
        }
    }
    let plain = Stack::new("a", &[]).expect("nothing is legal");
    for width in [48, 96, 160] {
        step_of(&plain, false, false, width).into_iter().flat_map(|plan| plan.steps).for_each(|step| {
            put(step.kernel);
        });
    }
    for stack in staged() {
        let plan = step(&stack, true, false).expect("it has a GPU twin");
        plan.steps.into_iter().for_each(|step| {
            put(step.kernel);
        });
    }
    let ceilings = [ceiling::read(1, 1), ceiling::multiply(1)].map(|plan| plan.expect("it fits any device"));
    decoding().into_iter().chain(ceilings).flat_map(|plan| plan.steps).for_each(|step| {
        put(step.kernel);
    });
    for config in configs() {
        for wants in [Selection::default(), Selection::sites(Site::ALL)] {
            let pass = layers::pass(&config, Format::F32, &plain, &wants, false, 5, 8).expect("a small model fits");
            pass.plan.steps.into_iter().for_each(|step| {
                put(step.kernel);
            });
        }
    }
    kernels
}

fn module(linked: &Linked) -> Result<(naga::Module, ModuleInfo), String> {
    module_with(linked, CAPABILITIES)
}

fn module_with(linked: &Linked, capabilities: Capabilities) -> Result<(naga::Module, ModuleInfo), String> {
    let line = |line: Option<u32>| linked.origins.get(line.unwrap_or(1) as usize - 1).cloned();
    let module = naga::front::wgsl::parse_str(&linked.text).map_err(|error| {
        format!(
            "{:?}: {}",
            line(error.location(&linked.text).map(|at| at.line_number)),
            error.emit_to_string(&linked.text)
        )
    })?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| error.emit_to_string(&linked.text))?;
    Ok((module, info))
}

/// Runs `judge` on every program and reports all complaints at once.
fn judge(judge: impl Fn(&Kernel, &Linked, &naga::Module, &ModuleInfo) -> Vec<String>) {
    let mut complaints = Vec::new();
    let kernels = kernels();
    assert!(kernels.len() > 20, "only {} programs found", kernels.len());
    for (id, kernel) in &kernels {
        match kernel
            .link()
            .map_err(|error| error.to_string())
            .and_then(|linked| module(&linked).map(|made| (linked, made)))
        {
            Ok((linked, (module, info))) => {
                complaints.extend(judge(kernel, &linked, &module, &info).iter().map(|fault| format!("{id}: {fault}")));
            }
            Err(problem) => complaints.push(format!("{id}: {problem}")),
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_program_links_and_is_valid_without_extra_capabilities() {
    judge(|_, _, _, _| Vec::new());
}

/// Rows are added up the other way in every program that adds up any, and only there.
#[test]
fn programs_that_add_up_rows_have_a_twin_with_subgroups() {
    let mut twins = 0;
    for (id, kernel) in &kernels() {
        let (plain, other) = (kernel.link().expect("checked above"), kernel.by_subgroups().link().expect("it links"));
        if !plain.text.contains("fn reduce(") {
            assert_eq!(plain.text, other.text, "{id}");
            continue;
        }
        twins += 1;
        assert!(other.text.contains("subgroupAdd(") && !plain.text.contains("subgroup"), "{id}");
        assert_eq!((other.bindings.len(), other.text.lines().count()), (plain.bindings.len(), other.origins.len()));
        if let Err(problem) = module_with(&other, CAPABILITIES | Capabilities::SUBGROUP) {
            panic!("{id}: {problem}");
        }
    }
    assert!(twins > 10, "only {twins} programs add up rows");
}

#[test]
fn every_binding_is_used_and_dense_and_few() {
    judge(|_, linked, module, info| {
        let mut faults = Vec::new();
        let entry = info.get_entry_point(0);
        let mut bound = BTreeSet::new();
        for (handle, global) in module.global_variables.iter() {
            let Some(binding) = &global.binding else { continue };
            let name = global.name.clone().unwrap_or_default();
            if entry[handle].is_empty() {
                faults.push(format!("binding {name} is not used"));
            }
            if binding.group != 0 {
                faults.push(format!("binding {name} is in group {}", binding.group));
            }
            bound.insert(binding.binding);
            let read_back = linked.bindings.get(binding.binding as usize).map(|found| found.name.as_str());
            if read_back != Some(name.as_str()) {
                faults.push(format!("binding {name} was read back as {read_back:?}"));
            }
        }
        if !bound.iter().copied().eq(0..linked.bindings.len() as u32) {
            faults.push(format!("bindings are {bound:?}, which is not dense"));
        }
        let storage = linked.bindings.iter().filter(|binding| binding.access != Access::Uniform).count();
        if storage > MOST_STORAGE {
            faults.push(format!("{storage} storage buffers are more than {MOST_STORAGE}"));
        }
        faults
    });
}

#[test]
fn workgroups_fit_every_device() {
    judge(|_, _, module, _| {
        let mut faults = Vec::new();
        let [entry] = module.entry_points.as_slice() else {
            return vec![format!("{} entry points instead of one", module.entry_points.len())];
        };
        if entry.name != "main" {
            faults.push(format!("the entry point is called {}", entry.name));
        }
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > MOST_INVOCATIONS {
            faults.push(format!("{invocations} invocations are more than {MOST_INVOCATIONS}"));
        }
        let shared = module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx())).sum();
        if bytes > MOST_WORKGROUP_BYTES {
            faults.push(format!("{bytes} bytes of workgroup memory are more than {MOST_WORKGROUP_BYTES}"));
        }
        faults
    });
}

#[test]
fn the_shape_uniform_is_read_back_whole_and_is_told_whole() {
    let mut complaints = Vec::new();
    for plan in plans(&Selection::sites(Site::ALL)) {
        for step in &plan.steps {
            let linked = step.kernel.link().expect("checked above");
            let (module, _) = module(&linked).expect("checked above");
            let declared: Vec<String> = module
                .types
                .iter()
                .filter(|(_, ty)| ty.name.as_deref() == Some("Shape"))
                .flat_map(|(_, ty)| match &ty.inner {
                    naga::TypeInner::Struct { members, .. } => members.iter().filter_map(|m| m.name.clone()).collect(),
                    _ => Vec::new(),
                })
                .collect();
            let read: Vec<String> = linked.shape.iter().map(|member| member.name.clone()).collect();
            let told: BTreeSet<&str> = step.shape.iter().map(|(name, _)| *name).collect();
            let needed: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
            if declared.is_empty() || declared != read || told != needed {
                complaints.push(format!("{}: declared {declared:?}, read {read:?}, told {told:?}", step.kernel.id()));
            }
            for binding in &linked.bindings {
                if binding.name != "shape" && !step.binds.iter().any(|(name, _)| *name == binding.name) {
                    complaints.push(format!("{}: nothing is bound to {}", step.kernel.id(), binding.name));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_step_reads_what_it_writes() {
    for wants in [Selection::default(), Selection::sites(Site::ALL), Selection::sites(&[Site::ResidPre, Site::Pattern])]
    {
        for plan in plans(&wants) {
            for step in &plan.steps {
                let linked = step.kernel.link().expect("checked above");
                let buffer =
                    |name: &str| step.binds.iter().find(|(binding, _)| binding == name).map(|(_, buffer)| buffer);
                let of = |access: Access| -> Vec<_> {
                    linked.bindings.iter().filter(|b| b.access == access).filter_map(|b| buffer(&b.name)).collect()
                };
                let (read, written) = ([of(Access::Read), of(Access::Uniform)].concat(), of(Access::ReadWrite));
                let unique: BTreeSet<_> = written.iter().collect();
                assert_eq!(unique.len(), written.len(), "{} writes one buffer twice", step.kernel.id());
                assert!(!written.iter().any(|name| read.contains(name)), "{} reads what it writes", step.kernel.id());
            }
        }
    }
}

#[test]
fn a_pass_stays_within_its_dispatches() {
    let plain = Stack::new("a", &[]).expect("nothing is legal");
    for config in configs() {
        let per_layer = if matches!(config.positions, Positions::Rotary { .. }) { 8 } else { 7 };
        let pass =
            layers::pass(&config, Format::F32, &plain, &Selection::default(), false, 5, 8).expect("a small model fits");
        assert_eq!(pass.plan.steps.len(), per_layer * config.layers + 3, "{config:?}");
        let every = layers::pass(&config, Format::F32, &plain, &Selection::sites(Site::ALL), true, 5, 8)
            .expect("a small model fits");
        let more = if config.positions == Positions::Learned { 2 } else { 1 };
        // The maps of each layer, and the result of its heads.
        assert_eq!(every.plan.steps.len(), pass.plan.steps.len() + 2 * config.layers + more, "captures of {config:?}");
    }
}

#[test]
fn a_token_stays_within_its_dispatches() {
    for (config, stack) in configs().iter().flat_map(|config| kept().map(|stack| (config, stack))) {
        let way = Way { lanes: Lanes::Shared, keep: false };
        let caches = Cache::of_layers(config, &stack, 0, 32, false);
        let form = Form { config, format: Format::F32, stack: &stack, room: 32, way, caches: &caches };
        let [token, chunk] = [decode::plan::step(form), decode::plan::chunk(form, 0, 8, 8)]
            .map(|plan| plan.expect("a small model fits").steps.len());
        let per_layer = if config.parallel { 4 } else { 5 };
        // What rings keep is copied for a chunk, whose tokens go to them later; a mixer has a norm.
        let of_chunk = 7 + 2 * stack.mask_mods.len() + usize::from(stack.mixer.is_some());
        assert_eq!((token, chunk), (per_layer * config.layers + 2, of_chunk * config.layers + 1), "{config:?}");
    }
}

/// No workgroup of a joined product may compute columns of both halves, since they see their input through two norms.
#[test]
fn both_halves_of_a_joined_matrix_begin_with_a_tile() {
    let neox = Config::neox(50, 40, 2, 4, 32);
    for piece in ["chunk", "whole"] {
        let tile = source::piece(piece).expect("it is there").constant("TILE").expect("it has one");
        assert_eq!(split(&neox) % tile as usize, 0, "{piece}");
    }
    assert!(split(&neox) >= 3 * 40);
}

/// A variable of a loop begins anew each time, says the language; one compiler of a browser forgot that of a matrix.
#[test]
fn every_variable_is_given_a_value() {
    let all = source::ALL.iter().map(|source| (source.path(), source.text));
    let twins = ALL.iter().filter_map(|m| Some((format!("shaders/mechanism/{}.wgsl", m.id), m.wgsl?)));
    for (path, text) in all.chain(twins) {
        for (number, line) in (1..).zip(text.lines()) {
            let bare = line.trim_start().starts_with("var ") && !line.contains('=');
            assert!(!bare, "{path}:{number}: {line}");
        }
    }
}

#[test]
fn mechanism_files_define_only_functions_of_their_own_name() {
    let mut complaints = Vec::new();
    for (mechanism, text) in ALL.iter().filter_map(|m| m.wgsl.map(|text| (m, text))) {
        let lines = || text.lines().map(str::trim_start);
        if lines().any(|line| line.starts_with('@')) {
            complaints.push(format!("{}: attributes belong to kernels", mechanism.id));
        }
        if lines().any(|line| line.starts_with("struct ")) {
            complaints.push(format!("{}: the parameter struct is generated", mechanism.id));
        }
        let names =
            |word: &'static str| lines().filter_map(move |line| line.strip_prefix(word)?.split(['(', ':']).next());
        for name in names("fn ").chain(names("const ")).chain(names("override ")) {
            if !name.starts_with(&format!("{}_", mechanism.id)) {
                complaints.push(format!("{}: {name} is not named after the file", mechanism.id));
            }
        }
        if names("fn ").next().is_none() {
            complaints.push(format!("{}: defines no function", mechanism.id));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_is_embedded_and_reached() {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for kernel in kernels().values() {
        let linked = [kernel.clone(), kernel.by_subgroups()].map(|kernel| kernel.link().expect("checked above"));
        let linked = linked.into_iter().flat_map(|linked| linked.origins);
        reached.extend(linked.map(|(file, _)| file));
    }
    let listed: BTreeSet<String> = source::ALL.iter().map(|source| source.path()).collect();
    let dead: Vec<_> = listed.difference(&reached).collect();
    assert!(dead.is_empty(), "no program uses {dead:?}");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["shared", "skeleton", "model"] {
        for entry in std::fs::read_dir(root.join("shaders").join(folder)).expect("the folder exists") {
            let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
            let path = format!("shaders/{folder}/{name}");
            assert!(!name.ends_with(".wgsl") || listed.contains(&path), "{path} is not in src/gpu/source.rs");
        }
    }
}

#[test]
fn faults_name_the_file_and_line_they_came_from() {
    const MISSING: &str = "// broken: names a piece that does not exist.\n#import nowhere\n";
    const SLOT: &str = "// broken: names a slot that nobody fills.\nfn softmax_slot() {\n    #slot nowhere\n}\n";
    const BINDING: &str = "// broken: a binding in another form.\n@binding(9) @group(0) var<storage> a: array<f32>;\n";
    let softmax = attnscope::mechanism::by_id("softmax").expect("it is there");
    for (text, line) in [(MISSING, 2), (SLOT, 3), (BINDING, 2)] {
        let broken = with_wgsl(softmax, text);
        let plain = Stack::new("a", &[]).expect("nothing is legal");
        let mut kernel = Kernel::attend_rows(&plain, false, false, false);
        kernel.mechanisms = vec![broken];
        match kernel.link() {
            Err(Error::Kernel { file, line: found, .. }) => {
                assert_eq!((file.as_str(), found), ("shaders/mechanism/softmax.wgsl", line));
            }
            other => panic!("{text} linked: {:?}", other.map(|linked| linked.text)),
        }
    }
}

/// A mechanism with another GPU twin; the registry's constants are not `Clone`, since nothing else needs a second one.
pub fn with_wgsl(of: &Mechanism, wgsl: &'static str) -> &'static Mechanism {
    let (paper, plug) = (&of.paper, &of.plug);
    Box::leak(Box::new(Mechanism {
        id: of.id,
        name: of.name,
        summary: of.summary,
        paper: Paper {
            number: paper.number,
            title: paper.title,
            authors: paper.authors,
            year: paper.year,
            url: paper.url,
            place: paper.place,
            provenance: paper.provenance,
        },
        laws: of.laws,
        parity: of.parity,
        wgsl: Some(wgsl),
        exhibits: of.exhibits,
        plug: Plug {
            role: plug.role,
            spec: plug.spec,
            params: plug.params,
            inputs: plug.inputs,
            twin: plug.twin,
            reach: plug.reach,
        },
    }))
}
