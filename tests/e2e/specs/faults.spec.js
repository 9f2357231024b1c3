// What can go wrong with a device, one after the other: each is told in its own words, and the main job is done all the
// same, with the numbers that the command line computes on the processor.
import { test as base, expect } from "@playwright/test";
import { Playground } from "../pages/playground.js";
import { inject, order, record, truth, worker } from "../pages/faults.js";

// The page logs what went wrong on purpose, so only what the visitor sees is judged.
const test = base.extend({ playground: async ({ page }, use) => use(new Playground(page)) });

const LONG = "The old fox sat by the river and said that he was not hungry. ".repeat(4).trim();
const link = (prompt, more = "") => `v=1&m=stories-3m&p=${encodeURIComponent(prompt)}&a=softmax&b=alibi(strength:2),softmax${more}`;
const HASH = link("The old fox sat by the river.");
const MINIMUM = {
  maxBufferSize: 268435456, maxStorageBufferBindingSize: 134217728, maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256,
};

// name, what is wrong (from the start, or `then` ordered later before another prompt runs), the engine that does the job, and
// what the visitor is told about it (`reason` in the dialog, `incident` above the page).
const FAULTS = [
  { name: "nothing is wrong", plan: {}, tier: /webgpu/ },
  { name: "no WebGPU in this browser", plan: { noGpu: true }, tier: /cpu/, reason: /no WebGPU or has it switched off/ },
  { name: "insecure page", plan: { insecure: true }, tier: /cpu/, reason: /secure pages only/ },
  { name: "no adapter", plan: { later: { noAdapter: true } }, tier: /cpu/, reason: /no graphics adapter/ },
  { name: "asking for an adapter fails", plan: { adapterThrows: true }, tier: /cpu/, reason: /no graphics adapter/ },
  { name: "software adapter", plan: { hardware: false }, tier: /cpu/, reason: /only a software GPU/ },
  { name: "GPU slower than the processor", plan: { slow: true }, tier: /cpu/, reason: /it is faster than .*: reading \d+ tokens and writing 4 takes the GPU [\d.]+ \+ [\d.]+ ms and the processor/ },
  { name: "device refused", plan: { noDevice: true }, tier: /cpu/, reason: /refused a device/ },
  { name: "limits at the minimum of the standard", plan: { limits: MINIMUM }, tier: /webgpu/ },
  { name: "limits below the minimum", plan: { limits: { maxStorageBuffersPerShaderStage: 4 } }, tier: /cpu/, reason: /4 storage buffers/ },
  { name: "no f16, no subgroups, no other feature", plan: { features: [] }, tier: /^webgpu$/ },
  { name: "wrong matrix product", plan: { later: { replace: ["rows_x.z * left_w", "rows_x.y * left_w"] } }, tier: /cpu/, reason: /failed the self-check: its logits/ },
  { name: "wrong decoding", plan: { later: { replace: ["y[c] = y[c] * scale(column + c) + affine", "y[c] = 0.9 * y[c] * scale(column + c) + affine"] } }, tier: /cpu/, reason: /self-check: its decoding/ },
  { name: "wrong mechanism", plan: { later: { replace: ["return s - slope", "return s - 1.5 * slope"] } }, tier: /cpu/, reason: /self-check of alibi/, incident: /self-check of alibi/ },
  { name: "kernel that does not compile", plan: { later: { replace: ["fn main(", "fn main_is_gone("] } }, tier: /cpu/, reason: /main/ },
  { name: "numbers that are not finite, in long prompts only", plan: { later: { replace: ["var s = product * shape.scale;", "var s = product * shape.scale * select(1.0, exp(200.0 + 0.0 * product), row > 40u);"] } }, then: {}, tier: /cpu/, reason: /blocks\.0\.attn\.hook_\w+ is not finite/, incident: /not finite/ },
  { name: "out of memory while the model is uploaded", plan: { later: { outOfMemory: true } }, tier: /cpu/, reason: /out of memory/ },
  { name: "out of memory in a run", plan: {}, then: { outOfMemory: true }, tier: /cpu/, reason: /out of memory/, incident: /out of memory/ },
  { name: "kernel that hangs", plan: {}, then: { hangs: true }, tier: /cpu/, reason: /did not answer within/, incident: /taken to hang/ },
  { name: "device lost while the model is uploaded", plan: { lose: [["upload", 9]] }, tier: /webgpu/, incident: /lost/ },
  { name: "device lost at a submit", plan: {}, then: { lose: [["submit", 1]] }, tier: /webgpu/, incident: /opened anew/ },
  { name: "device lost between submit and answer", plan: {}, then: { lose: [["read", 1]] }, tier: /webgpu/, incident: /opened anew/ },
  { name: "device lost again and again", plan: {}, then: { lose: Array.from({ length: 30 }, () => ["read", 1]) }, tier: /cpu/, reason: /3 tries to open it anew failed/, incident: /3 tries to open it anew failed/ },
  { name: "device lost, and no other to be had", plan: {}, then: { noAdapter: true, lose: [["submit", 1]] }, tier: /cpu/, reason: /no adapter/, incident: /lost/ },
  { name: "exception in the middle of the engine", plan: {}, then: { throws: true }, tier: /webgpu/, incident: /started afresh/ },
];

const DAMAGED = "damaged weight file";
const DIES = "engine that dies at every start";
const WRITING = [["while the prompt is read", [["submit", 1]]], ["between two tokens", [["submit", 3]]], ["before the answer of a burst", [["read", 2]]]];
const lostIn = (phase) => `device lost ${phase}`;
const rows = [];
const plain = (text) => text?.replace(/\s+/g, " ").trim() ?? "";

// A device that is opened anew compiles every kernel again, which takes a software adapter a while.
test.describe.configure({ timeout: 400_000 });
const PATIENT = { timeout: 300_000 };

async function go(playground, page, hash) {
  const before = await playground.work.getAttribute("data-run");
  await page.evaluate((hash) => void (location.hash = hash), hash);
  await expect(playground.work).not.toHaveAttribute("data-run", before ?? "", PATIENT);
  await playground.settled();
}

async function judge(playground, page, hash) {
  const expected = truth(hash);
  for (const [index, word] of ["a", "b"].entries()) {
    expect(await playground.number(playground.pane(word), "data-loss")).toBeCloseTo(expected.panes[index].loss, 3);
  }
  expect(await playground.number(playground.difference, "data-kl")).toBeCloseTo(expected.panes[1].versus_a.kl_next, 3);
}

for (const fault of FAULTS) {
  test(fault.name, async ({ playground, page }) => {
    await inject(page, fault.plan);
    await playground.open(HASH);
    let hash = HASH;
    if (fault.then) {
      await order(page, fault.then);
      hash = link(LONG);
      await go(playground, page, hash);
    }
    await expect(playground.engine).toHaveAttribute("data-tier", fault.tier);
    await expect(playground.engine).toHaveAttribute("data-passed", "true");
    await judge(playground, page, hash);
    const incident = page.getByTestId("incident");
    if (fault.incident) await expect(incident.first()).toContainText(fault.incident);
    else await expect(incident).toHaveCount(0);
    const told = fault.incident ? await incident.first().locator("p").textContent() : "";
    await playground.engine.click();
    const reason = page.getByTestId("reason");
    if (fault.reason) await expect(reason).toContainText(fault.reason);
    const said = fault.reason ? await reason.textContent() : "";
    rows.push([fault.name, await playground.engine.getAttribute("data-tier"), plain(told) || plain(said) || "nothing to tell"]);
  });
}

test("a damaged weight turns the badge red, and the page says so", async ({ playground, page }) => {
  await inject(page, {});
  await page.route("**/model.safetensors", async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    // Half precision: the upper byte of some entries in the middle of the file.
    for (let at = body.length >> 1; at < (body.length >> 1) + 400; at += 2) body[at + 1] ^= 0x40;
    await route.fulfill({ response, body });
  });
  await playground.open(HASH);
  await expect(playground.engine).toHaveAttribute("data-passed", "false");
  await expect(playground.engine).toContainText("failed");
  await playground.engine.click();
  await expect(page.getByTestId("reason")).toContainText("damaged");
  rows.push([DAMAGED, "cpu", plain(await page.getByTestId("reason").textContent())]);
});

test("the run is verified against the definition, and a kernel that is wrong for long prompts only is found", async ({ playground, page }) => {
  await inject(page, { later: { replace: ["var s = product * shape.scale;", "var s = product * shape.scale * select(1.0, 1.05, row > 40u);"] } });
  await playground.open(HASH);
  await expect(playground.engine).toHaveAttribute("data-tier", /webgpu/);
  const verified = page.getByTestId("verified");
  await playground.engine.click();
  await page.getByTestId("verify").click();
  await expect(verified).toHaveAttribute("data-agrees", "true", PATIENT);
  await page.keyboard.press("Escape");
  await go(playground, page, link(LONG));
  await playground.engine.click();
  await page.getByTestId("verify").click();
  await expect(verified).toHaveAttribute("data-agrees", "false", PATIENT);
});

for (const [name, lose] of WRITING) {
  test(`a device lost ${name} changes no token`, async ({ playground, page }) => {
    await inject(page, {});
    const written = page.locator("[data-test=pane][data-pane=a]").getByTestId("written");
    await playground.open("v=1&m=stories-3m&p=Once%20upon%20a%20time&a=softmax&n=32");
    await expect(playground.engine).toHaveAttribute("data-tier", /webgpu/);
    await page.getByTestId("write-go").click();
    await expect(written).toHaveAttribute("data-count", "32", PATIENT);
    const expected = await written.getAttribute("data-text");
    await page.reload();
    await playground.settled();
    await order(page, { lose });
    await page.getByTestId("write-go").click();
    await expect(written).toHaveAttribute("data-count", "32", PATIENT);
    expect(await written.getAttribute("data-text")).toBe(expected);
    await expect(playground.engine).toHaveAttribute("data-generation", "1");
    await expect(playground.engine).toHaveAttribute("data-tier", /webgpu/);
    await expect(page.getByTestId("incident")).toContainText("opened anew");
    rows.push([lostIn(name), await playground.engine.getAttribute("data-tier"), plain(await page.getByTestId("incident").locator("p").textContent())]);
  });
}

test("the engine dies again and again: then the visitor decides, and a restart does the job", async ({ playground, page }) => {
  await inject(page, (start) => (start < 4 ? { later: { throws: true } } : {}));
  await page.goto(`./#${HASH}`);
  const trouble = page.getByTestId("engine-trouble");
  await expect(trouble).toBeVisible({ timeout: 60_000 });
  while (await trouble.isVisible()) {
    await trouble.getByRole("button").click();
    await expect(playground.engine).toHaveAttribute("data-state", /ready|failed/, { timeout: 60_000 });
  }
  await playground.settled();
  await judge(playground, page, HASH);
  rows.push([DIES, "webgpu", "The engine stopped unexpectedly; a button starts it again"]);
});

test.afterAll(() => {
  record("faults", {
    title: "Faults of the device",
    text: "Each is injected in headless Chromium between the engine and navigator.gpu. In every row but that of the damaged file the experiment was answered with the numbers that the command line computes on the processor, or the text went on as it would have; nothing was lost.",
    columns: ["What is wrong", "Who computed", "What the visitor is told"],
    rows,
  }, [...FAULTS.map((fault) => fault.name), ...WRITING.map(([phase]) => lostIn(phase)), DAMAGED, DIES]);
});
