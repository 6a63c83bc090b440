import { defineConfig } from 'nitro'

export default defineConfig({
  preset: 'standard', // a module with a `fetch`
  serverDir: './',
  serveStatic: true,
  compatibilityDate: '2026-01-01',
  routeRules: { '/ruled': { redirect: '/', headers: { 'x-rule': 'yes' } } },
})
