/** Why a model has no plan, as what follows a sentence that says so. */
export const whyNoPlan = (operators: readonly string[], notes: readonly string[]): string =>
  operators.length > 0 ? `: it uses ${operators.join(', ')}, which the runtime lacks.` : `. ${notes.join(' ')}`
