/** What measures models. Loaded when asked for: pages that only run them never download it. */

export { profile } from './profile.js'
export { tune } from './tune.js'
