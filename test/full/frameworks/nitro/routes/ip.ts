import { defineHandler } from 'nitro'
import { getRequestIP } from 'nitro/h3'

export default defineHandler((event) => ({ function: getRequestIP(event), property: event.req.ip }))
