// The width is rustfmt's.
export default { printWidth: 110 };
