// Package lint holds the rules of this project's code as tests: which package
// may import which, what the pure packages must do without, and how long a
// function may be. Each message names the better way.
package lint
