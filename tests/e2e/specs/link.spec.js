// Every control, pane, pin and view is in the link, and opening the link restores it exactly.
import { test, expect } from "../pages/test.js";

async function state(playground) {
  const { page } = playground;
  return {
    prompt: await playground.prompt.inputValue(),
    bos: await page.getByTestId("bos").getAttribute("aria-checked"),
    chips: await page.locator("[data-test=param]").evaluateAll((all) => all.map((p) => [p.dataset.param, p.dataset.value])),
    head: await page.getByTestId("shown-head").textContent(),
    kl: await playground.difference.getAttribute("data-kl"),
    quantity: await playground.matrix("a").getAttribute("data-quantity"),
    sum: await playground.matrix("a").getAttribute("data-sum"),
    cell: [await playground.matrix("a").getAttribute("data-query"), await playground.matrix("a").getAttribute("data-key")],
    scale: await page.getByTestId("scale").inputValue(),
    metric: await page.getByTestId("metric").inputValue(),
    order: await page.locator("[data-test=order][aria-pressed=true]").getAttribute("data-order"),
    tab: await page.getByTestId("panel").getAttribute("data-tab"),
    hash: playground.hash(),
  };
}

test("a busy state survives its link", async ({ playground, page, context }) => {
  await playground.open();
  await playground.type("Tom & Ann = 50 % + #1 <b>\u00e9\u{1F600}</b> said \u0634\u0643\u0631\u0627");
  await playground.rerun(async () => {
    const window = playground.param("b", "window").getByTestId("number");
    await window.fill("3");
    await window.press("Enter");
  });
  await playground.head("L3H2").click();
  await page.locator("[data-test=quantity][data-quantity=value_weighted]").click();
  await page.getByTestId("scale").selectOption("sqrt");
  await page.getByTestId("metric").selectOption("entropy");
  await page.locator("[data-test=order][data-order=sorted]").click();
  await playground.tokens.nth(6).click();
  await playground.tokens.nth(2).click();
  await playground.tab("roles").click();
  await page.mouse.move(0, 0);
  await playground.settled();
  const before = await state(playground);
  expect(before.head).toContain("L3H2");
  expect(before.quantity).toBe("value_weighted");

  const other = await context.newPage();
  const { Playground } = await import("../pages/playground.js");
  const restored = new Playground(other);
  await other.goto(page.url());
  await restored.settled();
  expect(await state(restored)).toEqual(before);
  expect(restored.failures).toEqual([]);
});

test("unknown keys are reported, a newer version is refused, and nothing is lost", async ({ playground, page }) => {
  await playground.open("v=1&m=stories-3m&p=One%20day&a=softmax&b=alibi&colour=blue");
  await expect(page.getByTestId("link-notice")).toContainText("colour");
  expect(await playground.prompt.inputValue()).toBe("One day");
});

test("back is undo", async ({ playground, page }) => {
  await playground.open();
  const head = page.getByTestId("shown-head");
  const before = await head.textContent();
  await playground.head("L4H3").click();
  await expect(head).toContainText("L4H3");
  // The stage shows the head under the pointer, pinned or not.
  await page.mouse.move(0, 0);
  await page.goBack();
  await expect(head).toHaveText(before);
});
