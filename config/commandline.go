package config

import (
	"strings"

	"canopy/config/value"
	"canopy/internal/redact"
)

// CommandLine is argv as it may be shown to clients: without passwords, and without the values of flags that are secrets.
func CommandLine(argv []string) []string {
	_, groups := newDraft()
	secret := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.rows {
			secret[r.name] = value.IsSecret(r.value)
		}
	}
	shown := make([]string, len(argv))
	hides := false
	for i, word := range argv {
		name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch isFlag := strings.HasPrefix(word, "-") && secret[name]; {
		case hides:
			shown[i], hides = redact.Hidden, false
		case isFlag && inline:
			shown[i] = word[:strings.IndexByte(word, '=')+1] + redact.Hidden
		default:
			shown[i], hides = redact.Passwords(word), isFlag
		}
	}
	return shown
}
