// Loops over the catalogue: every mechanism opens by link, every control moves, and the numbers follow.
import { readFileSync } from "node:fs";
import { test, expect } from "../pages/test.js";

const CATALOGUE = JSON.parse(readFileSync(new URL("../../../www/mechanisms.json", import.meta.url), "utf8"));

// A value inside the range that differs from the default, and for choices another word.
function moved(control) {
  if (control.kind === "flag") return !control.default;
  if (control.kind === "choice") return control.words.find((word) => word !== control.default);
  const middle = (control.min + control.max) / 2;
  const value = control.default === control.min ? middle : control.min;
  return control.kind === "int" ? Math.round(value) : value;
}

async function move(param, control, value) {
  if (control.kind === "flag") return param.getByTestId("switch").click();
  if (control.kind === "choice") return param.getByTestId("choice").selectOption(value);
  const number = param.getByTestId("number");
  await number.fill(String(value));
  return number.press("Enter");
}

for (const entry of CATALOGUE) {
  test(`${entry.id}: opens by link, its controls move the numbers, its laws hold`, async ({ playground, page }) => {
    await playground.open(`v=1&m=stories-3m&p=${encodeURIComponent("Once upon a time there was a little dog who lived in a big house.")}&a=softmax&b=${entry.id}`);
    await expect(playground.pane("b").getByTestId("refusal")).toHaveCount(0);
    for (const control of entry.params) {
      const param = playground.param("b", control.key);
      await expect(param).toHaveAttribute("data-value", String(control.default));
      await playground.rerun(() => move(param, control, moved(control)));
      await expect(param).toHaveAttribute("data-value", String(moved(control)));
      expect(playground.hash()).toContain(`${control.key}:${moved(control)}`);
      // Reset leads back.
      await playground.rerun(() => param.getByTestId("reset").click());
      await expect(param).toHaveAttribute("data-value", String(control.default));
    }
    await playground.tab("paper").click();
    await page.getByTestId("paper-choice").selectOption(entry.id);
    const held = page.getByTestId("laws-held");
    // The live check adds what must hold of every mechanism, such as finite numbers, to what it declares.
    await expect(held).toHaveAttribute("data-of", /\d/);
    const laws = await playground.number(held, "data-of");
    expect(laws).toBeGreaterThanOrEqual(entry.laws.length);
    await expect(held).toHaveAttribute("data-held", String(laws));
  });
}

test("every mechanism with a control changes what the model says", async ({ playground }) => {
  const hash = (stack) => `v=1&m=stories-3m&p=${encodeURIComponent("Once upon a time there was a little dog who lived in a big house.")}&a=softmax&b=${stack}`;
  for (const stack of ["alibi(strength:2)", "streaming_window(sinks:0,window:2)", "attention_sink_operators(operator:sigmoid)", "softmax(temperature:2)"]) {
    await playground.open(hash(stack));
    await playground.page.reload();
    await playground.settled();
    expect(await playground.number(playground.difference, "data-kl"), stack).toBeGreaterThan(1e-3);
  }
});

test("two normalizers in one pane are refused in words", async ({ playground, page }) => {
  await page.goto("./#v=1&m=stories-3m&p=Hello&a=softmax&b=softmax,attention_sink_operators");
  await expect(playground.pane("b").getByTestId("refusal")).toContainText("attention_sink_operators");
});
