// TypeScript in worker processes and in their threads: `--import tsx` leaves threads out.
import { register } from 'tsx/esm/api'

register()
