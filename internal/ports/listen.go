package ports

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/config/value"
	"canopy/internal/httpserver"
)

// listeners are the open sockets, by what is served on them.
type listeners struct {
	client, metrics, peer []net.Listener
}

// listenAll binds every configured address, or none.
func listenAll(c config.Config, logger *logrus.Logger) (listeners, error) {
	var l listeners
	for _, each := range []struct {
		urls value.URLs
		into *[]net.Listener
		what string
	}{
		{c.ListenPeerURLs, &l.peer, "peers"},
		{c.ListenClientURLs, &l.client, "client requests"},
		{c.ListenMetricsURLs, &l.metrics, "metrics requests"},
	} {
		for i := range each.urls {
			listener, err := listen(&each.urls[i])
			if err != nil {
				return listeners{}, errors.Join(err, l.close())
			}
			logger.Infof("listening for %s on %s", each.what, each.urls[i].String())
			*each.into = append(*each.into, listener)
		}
	}
	return l, nil
}

func listen(u *url.URL) (net.Listener, error) {
	if u.Scheme != "http" {
		return nil, fmt.Errorf("listen on %s: only http is served", u)
	}
	return httpserver.Listen(u.Host)
}

func (l listeners) close() error {
	var errs []error
	for _, group := range [][]net.Listener{l.client, l.metrics, l.peer} {
		for _, listener := range group {
			errs = append(errs, listener.Close())
		}
	}
	return errors.Join(errs...)
}
