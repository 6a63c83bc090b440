import { expect, it } from 'vitest'
import { HandlerContext } from '../../../src/platform/handler-arguments.ts'
import { Gate } from '../../support/gate.ts'
import { turns } from '../support/stage.ts'

it('is settled when what tasks have given to waitUntil is done, too', async () => {
  const gate = new Gate()
  const done: string[] = []
  const task = async (name: string) => {
    await gate.pass(name)
    done.push(name)
  }
  const context = new HandlerContext({ addTask: () => {} })
  context.waitUntil(task('first').then(() => context.waitUntil(task('second'))))
  const settled = context.settled().then(() => done.push('settled'))
  gate.open('first')
  await gate.arrival('second')
  await turns(3)
  expect(done).toEqual(['first'])
  gate.open('second')
  await settled
  expect(done).toEqual(['first', 'second', 'settled'])
})
