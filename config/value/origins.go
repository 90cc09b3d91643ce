package value

import (
	"errors"
	"net/url"
	"strings"
)

// Origin checks a web origin: scheme, host and perhaps a port, as browsers send it (S43).
func Origin(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("Invalid CORS origin: " + s) // the reference's words
	}
	return s, nil
}

// HostName checks an entry of --host-whitelist: a name as it stands in a Host header, without port.
func HostName(s string) (string, error) {
	if strings.ContainsAny(s, "/: \t\"'") {
		return "", errors.New("host names have no scheme, port or path: " + s)
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")), nil
}
