// Asks axe-core about a page as it stands: the rules of WCAG and its best practices.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// The violations as sentences.
export async function violations(page) {
  await page.evaluate(source); // not a script element: the page's own policy would refuse it
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 120)}`));
}
