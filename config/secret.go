package config

import (
	"errors"
	"net"
	"strconv"
	"strings"
)

// hidden stands in the place of a secret.
const hidden = "xxxxx"

// Redacted is text without the passwords of the URLs in it, for logs and all other output. What follows :// up to an @
// is hidden also if it is no URL in good order: a password may have characters that should have been escaped.
func Redacted(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	parts := strings.Split(text, "://")
	for i := 1; i < len(parts); i++ {
		parts[i] = withoutUser(parts[i])
	}
	return strings.Join(parts, "://")
}

// withoutUser hides the user and the password with which text, which follows ://, begins. The user is shown if there is a
// password.
func withoutUser(text string) string {
	authority := text
	if end := strings.IndexAny(text, "/?#,\"'` \t\r\n"); end >= 0 {
		authority = text[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 && !isPlace(authority) {
		at = strings.LastIndexByte(text, '@')
	}
	if at < 0 {
		return text
	}
	if user, _, has := strings.Cut(text[:at], ":"); has {
		return user + ":" + hidden + text[at:]
	}
	return hidden + text[at:]
}

// isPlace tells whether text is a host, or a host and a port.
func isPlace(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = text, "0"
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil && (net.ParseIP(strings.Trim(host, "[]")) != nil || !strings.Contains(host, ":"))
}

// errUnshown is the fault of a list of URLs of which no part may be shown.
var errUnshown = errors.New("one of the URLs cannot be read; it is not shown, since it may hold a password")

// CommandLine is argv as it may be shown to clients: without passwords, and without the values of flags that are secrets.
func CommandLine(argv []string) []string {
	_, groups := newDraft()
	secret := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.rows {
			_, secret[r.name] = r.value.(secretURLValue)
		}
	}
	shown := make([]string, len(argv))
	hides := false
	for i, word := range argv {
		name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch isFlag := strings.HasPrefix(word, "-") && secret[name]; {
		case hides:
			shown[i], hides = hidden, false
		case isFlag && inline:
			shown[i] = word[:strings.IndexByte(word, '=')+1] + hidden
		default:
			shown[i], hides = Redacted(word), isFlag
		}
	}
	return shown
}
