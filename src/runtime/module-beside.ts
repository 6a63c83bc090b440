/**
 * The URL of a module of ours that another process or thread starts with. It has the importer's extension (`.ts` or `.js`).
 *
 * @param importer An `import.meta.url`.
 * @param path Relative to the importer, without an extension.
 */
export function moduleBeside(importer: string, path: string): URL {
  return new URL(`${path}${importer.slice(importer.lastIndexOf('.'))}`, importer)
}
