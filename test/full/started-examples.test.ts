import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { StartedExample, Terminal } from '../support/started-example.ts'

// Each example runs as `npm start -- NAME` runs it: with a real Mongrel2, and whatever else belongs to it.

let example: StartedExample

/** It ends cleanly, whatever the test has left open. */
afterEach(async () => {
  expect(await example.stop(), example.output).toBe(0)
})

describe('examples/json-chat', () => {
  it('lets two terminals talk, and tells who comes and goes', async () => {
    example = await StartedExample.start('json-chat')
    using ann = new Terminal('@chat', example.port)
    await expect.poll(() => ann.screen).toContain('What is your name?')
    ann.type('Ann')
    await expect.poll(() => ann.screen).toContain('Hello, Ann. Here are: nobody else.')

    using bob = new Terminal('@chat', example.port)
    await expect.poll(() => bob.screen).toContain('What is your name?')
    bob.type('Ann')
    await expect.poll(() => bob.screen).toContain('Ann is here already.')
    bob.type('Bob')
    await expect.poll(() => bob.screen).toContain('Hello, Bob. Here are: Ann.')
    await expect.poll(() => ann.screen).toContain('Bob joins.')

    ann.type('Is anybody \x1b[2Jthere?')
    await expect.poll(() => bob.screen).toContain('Ann: Is anybody [2Jthere?')
    await expect.poll(() => ann.screen).toContain('Ann: Is anybody [2Jthere?')
    bob.type('Yes')
    await expect.poll(() => ann.screen).toContain('Bob: Yes')

    bob.leave()
    await expect.poll(() => ann.screen).toContain('Bob leaves.')
    // The server closes those who are there when it ends.
    expect(await example.stop()).toBe(0)
    await ann.closed
  })

  it('closes a client that sends something else', async () => {
    example = await StartedExample.start('json-chat')
    const socket = connect(example.port, '127.0.0.1')
    socket.write('@chat {"text":1}\0')
    await once(socket.resume(), 'end')
    socket.destroy()
  })
})

describe('examples/bbs', () => {
  it('keeps what one writes and another reads', async () => {
    example = await StartedExample.start('bbs')
    using ann = new Terminal('@bbs', example.port)
    await expectDialogue(ann, [
      ['Your name: ', 'Ann'],
      ['[Q]uit, Ann? ', 'l'],
      ['There is nothing yet.\n(Enter) ', ''],
      ['[Q]uit, Ann? ', 'p'],
      ['Title: ', 'Lost'],
      ['Text, ended by an empty line:\n', 'One glove,'],
      ['', 'left hand.'],
      ['', ''],
      ['Posted.\n(Enter) ', ''],
    ])
    using bob = new Terminal('@bbs', example.port)
    await expectDialogue(bob, [
      ['Your name: ', 'Bob'],
      ['[Q]uit, Bob? ', 'l'],
      ['1. Lost (Ann)\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'r'],
      ['Number: ', '1'],
      ['Lost, by Ann\n\nOne glove,\nleft hand.\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'r'],
      ['Number: ', '2'],
      ['There is no such post.\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'q'],
    ])
    await bob.closed
    expect(bob.screen).toMatch(/Goodbye, Bob\.\n$/)
  })
})

/** Types each answer when what is new on the screen ends with its prompt. */
async function expectDialogue(terminal: Terminal, dialogue: [prompt: string, answer: string][]): Promise<void> {
  let seen = 0
  for (const [prompt, answer] of dialogue) {
    await expect.poll(() => terminal.screen.slice(seen)).toSatisfy((text: string) => text.endsWith(prompt))
    seen = terminal.screen.length
    terminal.type(answer)
  }
}
