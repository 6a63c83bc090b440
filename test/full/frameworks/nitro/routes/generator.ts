import { defineHandler } from 'nitro'
import { steps } from '../../steps.ts'

export default defineHandler(() => {
  const encoder = new TextEncoder()
  const bytes = async function* () {
    for await (const step of steps()) yield encoder.encode(`${step}\n`)
  }
  return bytes()
})
