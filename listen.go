package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/config"
)

// listeners are the open sockets, by what is served on them.
type listeners struct {
	client, metrics, peer []net.Listener
}

// listenAll binds every configured address, or none.
func listenAll(c config.Config, logger *logrus.Logger) (listeners, error) {
	var l listeners
	for _, each := range []struct {
		urls config.URLs
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

// vanishedAfter is how long a connection lives whose other side does not answer
// any more, be it idle or with something on its way. It is longer than a client
// has to take a part of an answer, so that slow ones are not cut by it.
const vanishedAfter = 75 * time.Second

func listen(u *url.URL) (net.Listener, error) {
	if u.Scheme != "http" {
		return nil, fmt.Errorf("listen on %s: only http is served", u)
	}
	how := net.ListenConfig{Control: noticeVanished, KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     vanishedAfter / 6,
		Interval: vanishedAfter / 6,
		Count:    5,
	}}
	return how.Listen(context.Background(), "tcp", u.Host)
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
