package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// The sizes of files, at most, in bytes. A bundle of all authorities of a system has a quarter of the first; a revoked
// certificate takes some 40 bytes of a list.
const (
	fileMax  = 1 << 20
	listsMax = 16 << 20
)

// read reads a file of at most so many bytes.
func read(file File, most int64) ([]byte, error) {
	f, err := os.Open(file.Name)
	if err != nil {
		return nil, &FileError{file, reasonOf(err)}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	if err != nil {
		return nil, &FileError{file, reasonOf(err)}
	}
	return b, nil
}

// reasonOf leaves out the name of the file, which the message has already.
func reasonOf(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

var pemBegin = []byte("-----BEGIN ")

// blocks calls each for the blocks of a PEM text. A damaged block is an error that tells its line; encoding/pem would leave
// it out.
func blocks(b []byte, each func(line int, block *pem.Block) error) error {
	at := 0
	for {
		next := bytes.Index(b[at:], pemBegin)
		if next < 0 {
			return nil
		}
		at += next
		line := 1 + bytes.Count(b[:at], []byte("\n"))
		block, rest := pem.Decode(b[at:])
		length := len(b) - at - len(rest)
		if block == nil || bytes.Count(b[at:at+length], pemBegin) != 1 {
			return fmt.Errorf("the block that begins in line %d is damaged", line)
		}
		if err := each(line, block); err != nil {
			return err
		}
		at += length
	}
}

// loadCertificates reads the certificates of a bundle, of which there must be one.
func loadCertificates(file File) ([]*x509.Certificate, error) {
	b, err := read(file, fileMax)
	if err != nil {
		return nil, err
	}
	all, err := parseCertificates(b)
	if err != nil {
		return nil, &FileError{file, err}
	}
	return all, nil
}

func parseCertificates(b []byte) (all []*x509.Certificate, err error) {
	other := ""
	err = blocks(b, func(line int, block *pem.Block) error {
		if block.Type != "CERTIFICATE" {
			other = block.Type
			return nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("the certificate that begins in line %d: %w", line, err)
		}
		all = append(all, c)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0 && other != "":
		return nil, fmt.Errorf("it holds no certificate, but a block %s", other)
	case len(all) == 0:
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return all, nil
}

// loadPair reads a certificate and its key.
func loadPair(certFile, keyFile File) (*tls.Certificate, error) {
	chain, err := loadCertificates(certFile)
	if err != nil {
		return nil, err
	}
	b, err := read(keyFile, fileMax)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, &FileError{keyFile, err}
	}
	public, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, &FileError{keyFile, fmt.Errorf("it is not the key of the first certificate in %s %s", certFile.Flag, certFile.Name)}
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// errEncrypted is the fault of a key that only a person could open.
var errEncrypted = errors.New("the key is encrypted, and nobody is there to type the password: decrypt it with openssl pkey")

// parseKey reads the only private key of a PEM text.
func parseKey(b []byte) (key crypto.Signer, err error) {
	other := ""
	err = blocks(b, func(line int, block *pem.Block) error {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] == "4,ENCRYPTED":
			return errEncrypted
		case block.Type != "PRIVATE KEY" && block.Type != "EC PRIVATE KEY" && block.Type != "RSA PRIVATE KEY":
			other = block.Type // openssl puts EC PARAMETERS before the key
			return nil
		case key != nil:
			return fmt.Errorf("it holds a second key, which begins in line %d", line)
		}
		parsed, err := parseKeyBytes(block)
		if err != nil {
			return fmt.Errorf("the key that begins in line %d: %w", line, err)
		}
		key = parsed
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case key == nil && other != "":
		return nil, fmt.Errorf("it holds no private key, but a block %s", other)
	case key == nil:
		return nil, errors.New("it holds no private key in PEM form")
	}
	return key, nil
}

func parseKeyBytes(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

// loadRevoked reads lists of revoked certificates, each of which one of the authorities must have signed (T26).
func loadRevoked(file File, authorities []*x509.Certificate) ([]*x509.RevocationList, error) {
	b, err := read(file, listsMax)
	if err != nil {
		return nil, err
	}
	lists, err := parseRevoked(b)
	if err != nil {
		return nil, &FileError{file, err}
	}
	for _, list := range lists {
		if err := checkIssuer(list, authorities); err != nil {
			return nil, &FileError{file, err}
		}
	}
	return lists, nil
}

// checkIssuer tells why a list cannot be trusted.
func checkIssuer(list *x509.RevocationList, authorities []*x509.Certificate) error {
	named := error(nil)
	for _, authority := range authorities {
		err := list.CheckSignatureFrom(authority)
		if err == nil {
			return nil
		}
		if bytes.Equal(authority.RawSubject, list.RawIssuer) {
			named = err
		}
	}
	if named != nil {
		return fmt.Errorf("the signature of the list of %q: %w", list.Issuer, named)
	}
	return fmt.Errorf("none of the authorities has signed it; its issuer is %q", list.Issuer)
}

// parseRevoked reads one list in DER form, or several in PEM form.
func parseRevoked(b []byte) (lists []*x509.RevocationList, err error) {
	if !bytes.Contains(b, pemBegin) {
		list, err := x509.ParseRevocationList(b)
		if err != nil {
			return nil, err
		}
		return []*x509.RevocationList{list}, nil
	}
	err = blocks(b, func(line int, block *pem.Block) error {
		if block.Type != "X509 CRL" {
			return fmt.Errorf("the block that begins in line %d is of type %s, not X509 CRL", line, block.Type)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return fmt.Errorf("the list that begins in line %d: %w", line, err)
		}
		lists = append(lists, list)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lists, nil
}
