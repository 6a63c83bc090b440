/** Fields about one connection (RFC 9110, section 7.6.1), which the server of each protocol writes itself. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding'])

/** The fields that are not about one connection, names and values in turn. `but`: a name in lower case that is left out too. */
export function endToEnd(fields: readonly string[], but?: string): string[] {
  const passed: string[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string
    const lower = name.toLowerCase()
    if (lower !== but && !HOP_BY_HOP.has(lower)) passed.push(name, fields[at + 1] as string)
  }
  return passed
}
