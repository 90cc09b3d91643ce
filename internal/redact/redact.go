// Package redact hides passwords in text that is shown to people.
package redact

import (
	"net"
	"strconv"
	"strings"
)

// Hidden stands in the place of a secret.
const Hidden = "xxxxx"

// Passwords gives text without the passwords of the URLs in it, for logs and all other output. It hides what follows :// up to
// an @, even if that is no valid URL: a password may have characters that should have been escaped.
func Passwords(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	parts := strings.Split(text, "://")
	for i := 1; i < len(parts); i++ {
		parts[i] = withoutUser(parts[i])
	}
	return strings.Join(parts, "://")
}

// withoutUser hides the password at the beginning of text, which follows ://. A user without a password is hidden, too: it may
// be a token.
func withoutUser(text string) string {
	authority := text
	if end := strings.IndexAny(text, "/?#,\"'` \t\r\n"); end >= 0 {
		authority = text[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 && !isHostPort(authority) {
		at = strings.LastIndexByte(text, '@')
	}
	if at < 0 {
		return text
	}
	if user, _, has := strings.Cut(text[:at], ":"); has {
		return user + ":" + Hidden + text[at:]
	}
	return Hidden + text[at:]
}

// isHostPort tells whether text is a host, or a host and a port.
func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = text, "0"
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil && (net.ParseIP(strings.Trim(host, "[]")) != nil || !strings.Contains(host, ":"))
}

// FlagValue is Passwords for the text of a flag, which may be a URL without its scheme.
func FlagValue(text string) string {
	if user, _, _ := strings.Cut(text, "@"); strings.Contains(text, "://") || !strings.Contains(user, ":") {
		return Passwords(text)
	}
	return withoutUser(text)
}
