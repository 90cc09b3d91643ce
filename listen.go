package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/etcdserver/metrics"
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

// filesReserved are file descriptors that are not for client connections (F36).
const filesReserved = 150

// fileLimit is how many file descriptors the process may have; Go's runtime
// has raised the soft limit to the hard one already.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

// filesSampled is how often the open file descriptors are counted (S27).
const filesSampled = 5 * time.Second

// sampleFiles keeps the metric of open file descriptors, where the system
// tells them.
func sampleFiles(ctx context.Context, set *metrics.Set) error {
	tick := time.NewTicker(filesSampled)
	defer tick.Stop()
	for {
		if open, err := os.ReadDir("/proc/self/fd"); err == nil {
			set.FileDescriptors.Set(float64(len(open)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func checkFileLimit() error {
	if limit := fileLimit(); limit != 0 && limit <= filesReserved {
		return fmt.Errorf("file descriptor limit[%d] of this process is too low, and should be set higher than %d to ensure internal usage", limit, filesReserved)
	}
	return nil
}
