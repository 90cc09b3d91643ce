package ports

import (
	"errors"
	"net"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/config/value"
	"canopy/internal/httpserver"
)

// listeners are the open sockets, by what is served on them.
type listeners struct {
	client, metrics, peer []socket
}

// socket is an open socket.
type socket struct {
	net.Listener
	https bool
}

// took tells whether the socket has accepted a connection.
func (s socket) took(c net.Conn) bool {
	own, ok := s.Addr().(*net.TCPAddr)
	local, tcp := c.LocalAddr().(*net.TCPAddr)
	return ok && tcp && own.Port == local.Port && (own.IP.IsUnspecified() || own.IP.Equal(local.IP))
}

// listenAll binds every configured address, or none.
func listenAll(c config.Config, logger *logrus.Logger) (listeners, error) {
	var l listeners
	for _, each := range []struct {
		urls value.URLs
		into *[]socket
		what string
	}{
		{c.ListenPeerURLs, &l.peer, "peers"},
		{c.ListenClientURLs, &l.client, "client requests"},
		{c.ListenMetricsURLs, &l.metrics, "metrics requests"},
	} {
		for i := range each.urls {
			listener, err := httpserver.Listen(each.urls[i].Host)
			if err != nil {
				return listeners{}, errors.Join(err, l.close())
			}
			logger.Infof("listening for %s on %s", each.what, each.urls[i].String())
			*each.into = append(*each.into, socket{listener, each.urls[i].Scheme == "https"})
		}
	}
	return l, nil
}

func (l listeners) close() error {
	var errs []error
	for _, group := range [][]socket{l.client, l.metrics, l.peer} {
		for _, listener := range group {
			errs = append(errs, listener.Close())
		}
	}
	return errors.Join(errs...)
}
