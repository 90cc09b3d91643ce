package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ErrNoRecords is for a domain without SRV records of a cluster.
var ErrNoRecords = errors.New("no SRV records")

// LookupSRV finds client URLs in the DNS: https from _etcd-client-ssl._tcp, or else http from _etcd-client._tcp. With
// plainToo records for http are taken, too, if there are some for https; who can add one can then read and change what is
// sent (T45).
func LookupSRV(ctx context.Context, domain string, plainToo bool) ([]string, error) {
	secure, secureErr := lookup(ctx, "etcd-client-ssl", domain, "https")
	if len(secure) > 0 && !plainToo {
		return secure, nil
	}
	plain, plainErr := lookup(ctx, "etcd-client", domain, "http")
	if urls := append(secure, plain...); len(urls) > 0 {
		return urls, nil
	}
	return nil, fmt.Errorf("dns lookup errors: %w and %w", secureErr, plainErr)
}

func lookup(ctx context.Context, service, domain, scheme string) (urls []string, err error) {
	_, records, err := net.DefaultResolver.LookupSRV(ctx, service, "tcp", domain)
	for _, r := range records { // those that are valid come with an error
		host := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		urls = append(urls, scheme+"://"+host)
	}
	if err == nil && len(urls) == 0 {
		err = fmt.Errorf("lookup _%s._tcp.%s: %w", service, domain, ErrNoRecords)
	}
	return urls, err
}
