/**
 * The URL of a module of ours that another process or thread starts with. It has the same ending as the one that asks, since sources run
 * as they are, too.
 *
 * @param importer The `import.meta.url` of who asks.
 * @param path Relative to that, without an ending.
 */
export function moduleBeside(importer: string, path: string): URL {
  return new URL(`${path}${importer.slice(importer.lastIndexOf('.'))}`, importer)
}
