import { defineHandler } from 'nitro'
import { digest } from '../../steps.ts'

export default defineHandler(async (event) => digest(await event.req.arrayBuffer()))
