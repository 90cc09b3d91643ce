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

// LookupSRV finds client URLs in the DNS: https from _etcd-client-ssl._tcp, or else http from _etcd-client._tcp (B38). Those for
// http are taken only if it is certain that there are none for https, or with plainToo: who can add or hold back an answer
// could otherwise read and change what is sent (T45). The resolver may be nil, for that of the system.
func LookupSRV(ctx context.Context, resolver *net.Resolver, domain string, plainToo bool) ([]string, error) {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	secure, secureErr := lookup(ctx, resolver, "etcd-client-ssl", domain, "https")
	if !plainToo && (len(secure) > 0 || !isAbsent(secureErr)) {
		return secure, secureErr
	}
	plain, plainErr := lookup(ctx, resolver, "etcd-client", domain, "http")
	if urls := append(secure, plain...); len(urls) > 0 {
		return urls, nil
	}
	return nil, fmt.Errorf("dns lookup errors: %w and %w", secureErr, plainErr)
}

// isAbsent tells whether a server has said that there is no such record.
func isAbsent(err error) bool {
	var fault *net.DNSError
	return errors.Is(err, ErrNoRecords) || errors.As(err, &fault) && fault.IsNotFound
}

func lookup(ctx context.Context, resolver *net.Resolver, service, domain, scheme string) (urls []string, err error) {
	_, records, err := resolver.LookupSRV(ctx, service, "tcp", domain)
	for _, r := range records { // those that are valid come also with an error
		host := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		urls = append(urls, scheme+"://"+host)
	}
	switch {
	case len(urls) > 0:
		return urls, nil
	case err == nil:
		err = fmt.Errorf("lookup _%s._tcp.%s: %w", service, domain, ErrNoRecords)
	}
	return nil, err
}
