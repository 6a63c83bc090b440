import { defineHandler } from 'nitro'
import { getQuery, getRouterParam } from 'nitro/h3'

export default defineHandler((event) => ({ id: getRouterParam(event, 'id'), query: getQuery(event) }))
