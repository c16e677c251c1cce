/** Where the cache keeps things. */

export const STORE = 'nearside-models'
/** Cache Storage wants http addresses; nothing ever asks a server for this one. */
export const FOLDER = 'https://nearside.invalid/'
export const INDEX = `${FOLDER}index`
