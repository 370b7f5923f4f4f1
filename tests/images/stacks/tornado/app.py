import asyncio

import tornado.web


class Config(tornado.web.RequestHandler):
    def get(self):
        self.set_header("Content-Type", "application/json")
        self.write(open("/srv/config.json").read())


async def main():
    tornado.web.Application([("/getconfig", Config)]).listen(80)
    await asyncio.Event().wait()


asyncio.run(main())
