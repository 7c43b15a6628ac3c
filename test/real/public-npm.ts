/** Dockerfiles in packages of the npm registry. */
import type { PublicPackage } from './public-case.ts';

/** What apt-get and npm leave that no two runs share. */
const FETCHED = ['^var/log/', '^var/lib/apt/', '^var/cache/', '^var/lib/dpkg/.*-old$', '/\\.npm(?:/|$)'];

export const npmPackages: PublicPackage[] = [
  {
    project: 'mongo-express/mongo-express',
    licence: 'MIT',
    kind: 'npm',
    package: 'mongo-express',
    version: '1.0.2',
    dockerfiles: [
      {
        name: 'mongo-express',
        path: 'Dockerfile',
        sha256: '0e573c041386e5aa9b552b3dea58aa6729b1c8d6889a947559e5b1087974c946',
        official: 'mongo-express',
        made: { '.npmignore': '\n', 'yarn.lock': '\n', 'build/x': '' },
      },
    ],
  },
  {
    project: 'statsd/statsd',
    licence: 'MIT',
    kind: 'npm',
    package: 'statsd',
    version: '0.9.0',
    dockerfiles: [
      {
        name: 'statsd',
        path: 'Dockerfile',
        sha256: 'd8dafa67eb1d9782dcddff2cb8469a5f448cebc3db3e34b656508521ede2fcfc',
      },
    ],
  },
  {
    project: 'loopbackio/loopback-next',
    licence: 'MIT',
    kind: 'npm',
    package: '@loopback/cli',
    version: '7.0.17',
    dockerfiles: [
      {
        name: 'loopback-app',
        path: 'generators/app/templates/Dockerfile',
        sha256: '40666459dcd88fcd7cebe7d32fb513ed886907cfa492862fba1834128f4f8f84',
        fetches: true,
        volatile: FETCHED,
        made: {
          'package.json': JSON.stringify({
            name: 'app',
            version: '1.0.0',
            scripts: { build: "node -e \"fs.mkdirSync('dist'); fs.writeFileSync('dist/index.js', 'is-odd')\"" },
            dependencies: { 'is-odd': '3.0.1' },
          }),
        },
      },
    ],
  },
  {
    project: 'aws/aws-cdk',
    licence: 'Apache-2.0',
    kind: 'npm',
    package: '@aws-cdk/aws-lambda-go-alpha',
    version: '2.258.0-alpha.0',
    dockerfiles: [
      {
        name: 'aws-cdk-go',
        path: 'lib/Dockerfile',
        sha256: '71c992f488a111f941b0319dd6606b4b50c74303a697907345ab65c5859eeb08',
      },
    ],
  },
  {
    project: 'aws/aws-cdk',
    licence: 'Apache-2.0',
    kind: 'npm',
    package: '@aws-cdk/aws-lambda-python-alpha',
    version: '2.269.0-alpha.0',
    dockerfiles: [
      {
        name: 'aws-cdk-python',
        path: 'lib/docker/Dockerfile',
        sha256: '73504118b2c69f45240e30163a324deb08ac973d0b67ad995271f514ec6b029d',
      },
    ],
  },
  {
    project: 'devcontainers/cli',
    licence: 'MIT',
    kind: 'npm',
    package: '@devcontainers/cli',
    version: '0.89.0',
    dockerfiles: [
      {
        name: 'devcontainers-uid',
        path: 'scripts/updateUID.Dockerfile',
        sha256: 'd77fd5cd5efdc70aadcf2e9006c2914526f4945b0c892fb62a7a8097e5f64b98',
        args: {
          BASE_IMAGE: 'mcr.microsoft.com/devcontainers/base:bookworm',
          REMOTE_USER: 'games',
          NEW_UID: '1234',
          NEW_GID: '1234',
          IMAGE_USER: 'games',
        },
      },
    ],
  },
  {
    project: 'redwoodjs/graphql',
    licence: 'MIT',
    kind: 'npm',
    package: '@redwoodjs/cli',
    version: '8.9.0',
    dockerfiles: [
      {
        name: 'redwood-api',
        path: 'dist/commands/setup/docker/templates/Dockerfile',
        target: 'api_serve',
        // Docker 20.10 leaves mount points behind.
        sha256: '3b1d3f709fde24e74dbaf60b03687d53da48b4165c8db75faef8e4d3edfc94b7',
        volatile: ['^home/node/\\.yarn/berry/cache$'],
        made: {
          '.yarnrc.yml': 'nodeLinker: node-modules\n',
          'package.json': '{}\n',
          'api/package.json': '{}\n',
          'api/src/index.js': '\n',
          'web/package.json': '{}\n',
          'yarn.lock': '\n',
          'redwood.toml': '\n',
          'graphql.config.js': '\n',
          '.env.defaults': 'A=1\n',
        },
      },
    ],
  },
  {
    project: 'backstage/backstage',
    licence: 'Apache-2.0',
    kind: 'npm',
    package: '@backstage/create-app',
    version: '0.9.2',
    dockerfiles: [
      {
        name: 'backstage-backend',
        path: 'templates/default-app/packages/backend/Dockerfile',
        context: 'templates/default-app',
        sha256: '6634ba2fc24539514a72673ce10680b13ebac978a00edf87c3c4db25f7e2da4b',
        fetches: true,
        // Docker 20.10 leaves mount points behind.
        volatile: [...FETCHED, '^home/node/\\.cache'],
        made: {
          '.yarn/releases/yarn.cjs': '\n',
          '.yarnrc.yml': 'nodeLinker: node-modules\n',
          'backstage.json': '{}\n',
          'yarn.lock': '\n',
          'package.json': '{}\n',
          'packages/backend/dist/skeleton.tar.gz': 'traced.tgz',
          'packages/backend/dist/bundle.tar.gz': 'traced.tgz',
        },
      },
    ],
  },
];
