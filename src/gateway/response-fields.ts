/** Fields about one connection (RFC 9110, section 7.6.1), which the server of each protocol writes itself. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding'])

/** The fields that are not about one connection, names and values in turn. */
export function endToEnd(fields: readonly string[]): string[] {
  return fields.filter((_, at) => !isHopByHop((fields[at - (at % 2)] as string).toLowerCase()))
}

/** Whether a field is about one connection, by its name in lower case. */
export function isHopByHop(name: string): boolean {
  return HOP_BY_HOP.has(name)
}
