// The HTML. Hono's JSX escapes whatever is put into it.

import { raw } from 'hono/html'
import type { Child } from 'hono/jsx'

export interface SharedFile {
  readonly id: number
  readonly name: string
  readonly by: string
  readonly content: File
}

function Page({ children }: { children?: Child }) {
  return (
    <>
      {raw('<!doctype html>')}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width" />
          <title>Shared files</title>
          <link rel="stylesheet" href="/page.css" />
          <script src="/page.js" type="module" />
        </head>
        <body>
          <h1>Shared files</h1>
          {children}
        </body>
      </html>
    </>
  )
}

/** @param problem What was wrong with the last attempt. */
export function EntrancePage({ problem }: { problem?: string | undefined }) {
  return (
    <Page>
      {problem && <p role="alert">{problem}</p>}
      <form method="post">
        <label>
          Name <input name="name" autocomplete="username" required />
        </label>
        <label>
          Password <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <button type="submit" formaction="/sign-in">
          Sign in
        </button>
        <button type="submit" formaction="/sign-up">
          Sign up
        </button>
      </form>
    </Page>
  )
}

export function FilesPage({ name, files }: { name: string; files: readonly SharedFile[] }) {
  return (
    <Page>
      <form method="post" action="/sign-out">
        You are {name}. <button type="submit">Sign out</button>
      </form>
      <form id="upload" method="post" action="/files" enctype="multipart/form-data">
        <input type="file" name="file" required /> <button type="submit">Share</button>
        <progress max="1" value="0" />
        <output />
      </form>
      <ul id="files">
        <Files files={files} />
      </ul>
    </Page>
  )
}

/** The items of the list: in the page, and in the event that replaces them. */
export function Files({ files }: { files: readonly SharedFile[] }) {
  return (
    <>
      {files.map(({ id, name, by, content }) => (
        <li>
          <a href={`/files/${id}`}>{name}</a> ({content.size} bytes) from {by}
        </li>
      ))}
    </>
  )
}
