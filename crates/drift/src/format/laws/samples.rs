//! A file of each format, as they are found on machines.

use super::super::Format;

pub(super) const ALL: [(Format, &str); 22] = [
    (Format::Raw, "one\n\n  two\nthree"),
    (
        Format::KeyValue,
        "# a comment\nUMASK\t\t022\nPASS_MAX_DAYS   99999\nNAME=\"Debian\"\nhosts:  files dns\n",
    ),
    (
        Format::Sysctl,
        "# x\nkernel.printk = 3 4 1 3\n-net/ipv4/conf/eth0.1/rp_filter=1\nvm.swappiness=10\nvm.swappiness = 20\n",
    ),
    (Format::Ini, "top = 1\n[main]\n\tdns = none\n; note\nplugins=a,b\n\n[connection]\nid:x\n"),
    (
        Format::Systemd,
        "[Unit]\nDescription=A  B\n\n[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b \\\n  # note\n  --flag\nEnvironment=A=1\nEnvironment=B=2\n",
    ),
    (
        Format::Resolv,
        "# managed\nnameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch a.example b.example\noptions edns0 trust-ad\n",
    ),
    (
        Format::Hosts,
        "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # v6\n10.0.0.2  db db.example\n",
    ),
    (
        Format::Fstab,
        "UUID=ab-cd / ext4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0 # swap\ntmpfs /tmp tmpfs\n",
    ),
    (Format::Crypttab, "# name\nroot UUID=12 none luks,discard\nhome /dev/sdb\n"),
    (
        Format::Passwd,
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n",
    ),
    (Format::Shadow, "root:*:19000:0:99999:7:::\nbob:!:19000:0:99999:7:::\n"),
    (Format::Group, "root:x:0:\nsudo:x:27:ann,bob\n"),
    (Format::Gshadow, "root:*::\nsudo:!::ann\n"),
    (
        Format::Sshd,
        "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\nport 2222\n#x\nPermitRootLogin=no\nSubsystem sftp \"/usr/lib/sftp server\" # tail\nMatch User  bob\n  X11Forwarding no\n\nMatch all\n\tAllowTcpForwarding yes\n",
    ),
    (Format::Crontab, "MAILTO=\"\"\n*/5 * * * * /bin/poll --all\n@daily backup\n"),
    (
        Format::CronD,
        "SHELL=/bin/sh\n17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n@reboot www-data /bin/x\n",
    ),
    (
        Format::Nginx,
        "user www-data;\nevents { worker_connections 768; }\nhttp {\n    log_format main '$remote_addr; {x}';\n    server {\n        listen 80; # web\n        server_name a b;\n        location ~ \\.php$ {\n            internal;\n            return 200 \"${host}\";\n        }\n    }\n    server {\n        listen 81;\n    }\n}\n",
    ),
    (
        Format::Deb822,
        "# sources\nTypes: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\n bookworm-updates\nComponents: main\n\n\nTypes: deb\nURIs: http://security.debian.org\n",
    ),
    (
        Format::Json,
        "{\n  \"debug\": true,\n  \"log-opts\": {\"max-size\": \"10m\", \"a.b\": 1},\n  \"hosts\": [\"unix://\", [1, {}]],\n  \"\": null\n}\n",
    ),
    (
        Format::Toml,
        "title = \"x\" # t\n[tool.ruff]\nline-length = 100\nselect = [\n  \"E\", # errors\n  \"F\",\n]\n[[bin]]\nname = '''a\nb'''\n[[bin]]\n\"quoted.key\" = { a = 1 }\n",
    ),
    (
        Format::Yaml,
        "# netplan\nnetwork:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: no # static\n      addresses: [10.0.0.2/24,\n        10.0.0.3/24]\n      routes:\n      - to: default\n        via: 10.0.0.1\n      - to: 10.1.0.0/16\n        via: 10.0.0.9\nscript: |\n  # kept\n  a: b\n\n  end\n\"quoted\": 'x'\nlist:\n  - one\n  - two\n",
    ),
    (
        Format::Nft,
        "#!/usr/sbin/nft -f\nflush ruleset\ndefine web = { 80, 443 }\ntable inet filter {\n\tset hosts {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state { established, related } counter packets 12 bytes 900 accept\n\t\ttcp dport $web accept comment \"a; {b\"\n\t}\n}\n",
    ),
];
