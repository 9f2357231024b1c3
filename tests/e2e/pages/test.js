// `test` with the page object as a fixture. A test fails when the page logged an error, whatever else it asserts.
import { test as base, expect } from "@playwright/test";
import { Playground } from "./playground.js";

export const test = base.extend({
  playground: async ({ page }, use) => {
    const playground = new Playground(page);
    await use(playground);
    expect(playground.failures, "nothing went wrong behind the page").toEqual([]);
  },
});
export { expect };
