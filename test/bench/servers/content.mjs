// What served.mjs serves and served.ts expects.

const WORDS =
  'a server answers many requests of one connection while other clients wait for their files and the page shows a table with prices names dates words'.split(
    ' ',
  )

/** Text of so many bytes that compresses as prose does: words in an order that is always the same. */
export function textOf(bytes) {
  let text = ''
  for (let state = 1; text.length < bytes; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    text += `${WORDS[(state >>> 16) % WORDS.length]} `
  }
  return text.slice(0, bytes)
}

/** The text that is compressed. */
export const TEXT = textOf(64 * 1024)

/** The rows of the page. */
export const ROWS = Array.from({ length: 200 }, (_, n) => ({ id: n + 1, name: `Thing ${n + 1}`, price: `${n}.50` }))
