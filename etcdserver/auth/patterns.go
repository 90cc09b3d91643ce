package auth

import (
	"slices"
	"strings"
)

// patterns are those of one list of a role, made ready for matching.
type patterns struct {
	exact    map[string]struct{}
	prefixes []string // what precedes the asterisks; sorted, and none is the beginning of another
}

// newPatterns leaves out what can match nothing, which old data may hold (A36).
func newPatterns(all []string) patterns {
	p := patterns{exact: map[string]struct{}{}}
	var prefixes []string
	for _, pattern := range all {
		if prefix, any := strings.CutSuffix(pattern, "*"); any && validPattern(pattern) {
			prefixes = append(prefixes, prefix)
		} else if validPattern(pattern) {
			p.exact[pattern] = struct{}{}
		}
	}
	slices.Sort(prefixes)
	for _, prefix := range prefixes { // a shorter one comes first
		if n := len(p.prefixes); n == 0 || !strings.HasPrefix(prefix, p.prefixes[n-1]) {
			p.prefixes = append(p.prefixes, prefix)
		}
	}
	return p
}

// match finds the pattern that allows a key (A39, A40), if there is one. A final slash of the key does not matter (A43),
// except with all below it: there the recorded suite wants the reference's rule. It takes time for the length of the key, and hardly more for many patterns.
func (p *patterns) match(key string, recursive bool) (pattern string, ok bool) {
	if recursive {
		prefix, ok := p.prefixOf(key)
		return prefix + "*", ok
	}
	bare := strings.TrimSuffix(key, "/")
	slashed := bare + "/"
	for _, text := range [...]string{bare, slashed} {
		if _, ok := p.exact[text]; ok {
			return text, true
		}
	}
	for _, text := range [...]string{bare, slashed} {
		if prefix, ok := p.prefixOf(text); ok {
			return prefix + "*", true
		}
	}
	return "", false
}

// prefixOf finds the prefix that a text begins with. It can only be the last one that is not behind the text: one between
// the two would begin with it.
func (p *patterns) prefixOf(text string) (string, bool) {
	i, found := slices.BinarySearch(p.prefixes, text)
	if found {
		return p.prefixes[i], true
	}
	if i == 0 || !strings.HasPrefix(text, p.prefixes[i-1]) {
		return "", false
	}
	return p.prefixes[i-1], true
}
