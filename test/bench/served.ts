import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROWS, TEXT, textOf } from './servers/content.mjs'
import type { HttpRequest } from './wrk.ts'

/** A request, and its right answer. */
export interface Asked {
  readonly title: string
  readonly request: HttpRequest
  /** The body, without its content coding. */
  readonly body: string
  /** Header fields of the answer. */
  readonly fields?: Readonly<Record<string, string>>
}

const KIB = 1024
const THINGS = Array.from({ length: 890 }, (_, n) => ({ n, price: n / 2, text: textOf(65), tags: ['a', 'b'] }))
const BOUNDARY = 'a-boundary'
const FILE_SIZE = 98 * KIB

/** What people serve, by the names of the workloads. */
export const SERVED = {
  file64k: file('64 KiB', 64 * KIB),
  file1m: file('1 MiB', KIB * KIB),
  page: { title: 'A page of 20 KiB by JSX', request: { path: '/page' }, body: renderPage() },
  gzip: {
    title: 'A text of 64 KiB, compressed by hono/compress',
    request: { path: '/text', headers: { 'accept-encoding': 'gzip' } },
    body: TEXT,
    fields: { 'content-encoding': 'gzip' },
  },
  json100k: posted(
    'A body of 100 KiB parsed as JSON',
    '/json',
    'application/json',
    JSON.stringify(THINGS),
    '890 things',
  ),
  form100k: posted(
    'A body of 100 KiB parsed as a multipart form',
    '/form',
    `multipart/form-data; boundary=${BOUNDARY}`,
    [
      part('name="title"', 'A file'),
      part('name="file"; filename="text.txt"\r\ncontent-type: text/plain', textOf(FILE_SIZE)),
      `--${BOUNDARY}--\r\n`,
    ].join(''),
    `A file: text.txt of ${FILE_SIZE} bytes`,
  ),
} satisfies Record<string, Asked>

export type ServedName = keyof typeof SERVED

export const SERVED_NAMES = Object.keys(SERVED) as ServedName[]

/** Writes the files that the servers find in a directory by the variable BENCH_FILES. */
export async function writeServedFiles(directory: string): Promise<void> {
  for (const { request, body } of [SERVED.file64k, SERVED.file1m])
    await writeFile(join(directory, request.path.slice('/files/'.length)), body)
}

function file(title: string, size: number) {
  return {
    title: `A file of ${title} by serveStatic`,
    request: { path: `/files/${size}.txt` },
    body: textOf(size),
    fields: { 'content-length': String(size) },
  }
}

function posted(title: string, path: string, type: string, sent: string, body: string): Asked {
  return { title, request: { path, method: 'POST', headers: { 'content-type': type }, body: sent }, body }
}

function part(disposition: string, content: string): string {
  return `--${BOUNDARY}\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`
}

function renderPage(): string {
  const rows = ROWS.map(
    ({ id, name, price }) =>
      `<tr id="row-${id}"><td>${id}</td><td><a href="/things/${id}" class="thing">${name}</a></td><td>${price}</td></tr>`,
  )
  return `<html><head><title>Things</title></head><body><table>${rows.join('')}</table></body></html>`
}
