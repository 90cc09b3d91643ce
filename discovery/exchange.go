package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"canopy/client"
)

// Bounds of an exchange (D13).
const (
	askTimeout  = 5 * time.Second  // to read and to register
	pollTimeout = 60 * time.Second // for one wait; then the list is read again
	dialTimeout = 30 * time.Second
	tlsTimeout  = 10 * time.Second
	answerMax   = 1 << 20 // bytes
)

// A directory is the directory of a token, at its one endpoint.
type directory struct {
	token Token
	keys  *client.Client // below the directory; the key "" is the directory itself
}

// newDirectory makes a directory behind an HTTP proxy, if there is one; it does
// not use proxies of the environment (D13).
func newDirectory(t Token, proxy *url.URL) (*directory, error) {
	c := client.Config{
		Endpoints: []string{t.url.Scheme + "://" + t.url.Host}, KeysPath: cmp.Or(t.url.EscapedPath(), "/"), Redirects: true,
		Proxy:       http.ProxyURL(proxy),
		DialTimeout: dialTimeout, TLSTimeout: tlsTimeout, AnswerBytes: answerMax,
		HeaderTimeout: -1, // the answer to a wait may come all at once (D33)
	}
	if t.user != nil {
		c.Username = t.user.Username()
		c.Password, _ = t.user.Password()
	}
	keys, err := client.New(c)
	return &directory{t, keys}, err
}

// parseProxy parses the URL of an HTTP proxy, or its host:port; nil: none.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("--discovery-proxy: allowed is http://host:port, or host:port")
	}
	return u, nil
}

// get reads what is below the token. The read is linearizable: behind a load
// balancer, a member that lags would not know of a registration (D44).
func (d *directory) get(ctx context.Context, below string) (*client.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return d.keys.Get(ctx, below, client.GetOptions{Quorum: true})
}

// create makes a key, unless it exists.
func (d *directory) create(ctx context.Context, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := d.keys.Set(ctx, key, value, client.SetOptions{PrevExist: client.Never})
	return err
}

// watch waits for a change below the token, after an index. It returns no error
// if nothing changed for the time of a wait, if a relay cut the wait (D14), or
// if the store no longer has the changes: the next read shows the result.
func (d *directory) watch(ctx context.Context, after uint64) (happened bool, err error) {
	poll, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	_, err = d.keys.Watch("", client.WatchOptions{Recursive: true, After: after}).Poll(poll)
	over := poll.Err() != nil && ctx.Err() == nil
	cut := (*client.AnswerError)(nil)
	if over || errors.As(err, &cut) && cut.Status == http.StatusOK && cut.Text == "" {
		return false, nil
	}
	if err = d.judge(err); errors.Is(err, ErrRefused) {
		return false, nil
	}
	return err == nil, err
}

// judge classifies an error: the answer may change, a *unsureError (D14), or it
// will not, a *TokenError (D19). Only the status and the length of the answer are
// logged, since anybody may have sent it.
func (d *directory) judge(err error) error {
	var failed *client.ClusterError
	if errors.As(err, &failed) {
		err = failed.Failures[0].Err // there is one endpoint
	}
	status, text := 0, ""
	said, garbage := (*client.Error)(nil), (*client.AnswerError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		status, text = said.Status, fmt.Sprintf(", code %d", said.Code)
	case errors.As(err, &garbage):
		status, text = garbage.Status, fmt.Sprintf(" with %d bytes that are no answer of the API", garbage.Bytes)
	}
	name := d.token.url.Scheme + "://" + d.token.url.Host
	switch {
	case status == 0:
		return &unsureError{fmt.Errorf("error connecting to %s: %w", name, err)}
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return &unsureError{fmt.Errorf("error connecting to %s: it answers %d%s", name, status, text)}
	case garbage != nil && status >= 300 && status < 400:
		return d.bad(fmt.Sprintf("it answers %d, a redirect; only reads are redirected, within one host: use the URL that it leads to", status))
	case garbage != nil:
		return d.bad(fmt.Sprintf("it answers %d%s", status, text))
	}
	return &TokenError{d.token, ErrRefused, fmt.Sprintf("%d%s", status, text), adviceEndpoint}
}

// isMissing tells whether an error means that the key does not exist.
func isMissing(err error) bool {
	var said *client.Error
	return errors.As(err, &said) && (said.Code == client.ErrKeyNotFound || said.Status == http.StatusNotFound)
}

func (d *directory) bad(fact string) error {
	return &TokenError{d.token, ErrBadEndpoint, fact, adviceEndpoint}
}
