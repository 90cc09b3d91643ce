package value

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// URLs is a sorted list of http or https URLs of the form scheme://host:port (F18).
type URLs []url.URL

// urlsMax is the most URLs in a list; a longer list is a mistake.
const urlsMax = 256

// ParseURLs parses a comma-separated list as F18 says. Blanks around items are trimmed; an empty item is an error, as
// the reference has it, and so are more than 256.
func ParseURLs(list string) (URLs, error) {
	if strings.Count(list, ",") >= urlsMax {
		return nil, fmt.Errorf("more than %d URLs", urlsMax)
	}
	var urls URLs
	for item := range strings.SplitSeq(list, ",") {
		u, err := parseURL(strings.TrimSpace(item))
		if err != nil && strings.Contains(list, "@") {
			return nil, ErrHidden
		}
		if err != nil {
			return nil, err
		}
		urls = append(urls, *u)
	}
	slices.SortStableFunc(urls, func(a, b url.URL) int { return strings.Compare(a.String(), b.String()) })
	return urls, nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL scheme must be http or https: %s", text)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil || port == "" {
		return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("URL port must be between 0 and 65535: %s", text)
	}
	if u.Path != "" {
		return nil, fmt.Errorf("URL must not contain a path: %s", text)
	}
	return u, nil
}

// Strings is the list as text, in its order.
func (u URLs) Strings() []string {
	text := make([]string, len(u))
	for i := range u {
		text[i] = u[i].String()
	}
	return text
}

// String is the list as the flags take it.
func (u URLs) String() string { return strings.Join(u.Strings(), ",") }
