/* Process 1 of the guests of these tests: loads the initrd's modules, says that it is up, and
 * answers each line on its port with a count and what it sees. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void load(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "/modules/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
        printf("guest: module %s: %m\n", name);
    close(fd);
}

static int port(void)
{
    char name[300], path[300];
    for (int number = 1; number < 8; number++) {
        snprintf(path, sizeof path, "/sys/class/virtio-ports/vport1p%d/name", number);
        for (int bus = 0; bus < 10; bus++) {
            path[strlen("/sys/class/virtio-ports/vport")] = '0' + bus;
            FILE *file = fopen(path, "r");
            if (!file)
                continue;
            int found = fgets(name, sizeof name, file) && !strcmp(name, "umbra.test\n");
            fclose(file);
            snprintf(name, sizeof name, "/dev/vport%dp%d", bus, number);
            if (found)
                return open(name, O_RDWR | O_CLOEXEC);
        }
    }
    return -1;
}

static int disks(void)
{
    int count = 0;
    DIR *dir = opendir("/sys/block");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += !strncmp(entry->d_name, "vd", 2);
    if (dir)
        closedir(dir);
    return count;
}

int main(void)
{
    char line[300];
    setvbuf(stdout, NULL, _IONBF, 0);
    mount("proc", "/proc", "proc", 0, "");
    mount("sys", "/sys", "sysfs", 0, "");
    mount("dev", "/dev", "devtmpfs", 0, "");
    FILE *list = fopen("/modules/list", "r");
    while (list && fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        load(line);
    }
    printf("umbra-guest: up\n");
    int fd = port();
    FILE *in = fdopen(fd, "r");
    for (int count = 1; in; count++) {
        if (!fgets(line, sizeof line, in)) {
            /* Nobody is at the other end. */
            clearerr(in);
            count--;
            nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
            continue;
        }
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "off"))
            break;
        dprintf(fd, "%d %s %d disks\n", count, line, disks());
    }
    reboot(RB_POWER_OFF);
    return 0;
}
