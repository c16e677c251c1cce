export * from 'nearside/ort'
export { default } from 'nearside/ort'
