import { defineHandler } from 'nitro'
import { digest } from '../../steps.ts'

export default defineHandler(async (event) => {
  const form = await event.req.formData()
  const file = form.get('file')
  return { title: form.get('title'), file: file instanceof Blob ? await digest(file) : null }
})
